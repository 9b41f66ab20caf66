package wire

import (
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Whatever a plugin sends becomes values within the limits, or is no message.
func FuzzDecode(f *testing.F) {
	for _, message := range []proto.Message{
		EncodeEvent(sdk.Event{
			Kind: sdk.EventCrashed, Time: time.Unix(1, 0), Reason: "it ended", Generation: 7, Details: []string{"a"},
			Commands: []sdk.Command{{Sent: "set server a/b weight 1"}},
		}),
		EncodeLost(sdk.Lost{Err: sdk.Rejectf("no"), Generation: 3, Digest: "d"}),
		EncodeResult(sdk.Result{
			Action: sdk.ActionReload, Reason: "r", Took: 1, Steps: []sdk.Step{{Name: "check", Start: 1, Took: 2}},
			Commands: []sdk.Command{{Sent: "a", Answer: "b"}},
		}),
		&ServersResponse{Servers: EncodeServers([]sdk.Server{{Backend: "b", Name: "n", Weight: 1, InStatus: 1}})},
		EncodeSnapshot(sdk.Snapshot{Cause: sdk.CausePush, Sender: "192.0.2.1"}),
	} {
		encoded, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, encoded []byte) {
		within := func(limit int, texts ...string) {
			t.Helper()
			for _, text := range texts {
				if len(text) > limit+len("…") || !utf8.ValidString(text) {
					t.Errorf("a text of %d bytes, more than %d, or of invalid UTF-8", len(text), limit)
				}
			}
		}
		commands := func(all []sdk.Command) {
			t.Helper()
			if len(all) > MaxCommands+1 {
				t.Errorf("%d commands", len(all))
			}
			for _, c := range all {
				within(MaxText, c.Sent, c.Answer)
			}
		}
		var event AttachEvent
		if proto.Unmarshal(encoded, &event) == nil {
			if e, ok := DecodeEvent(&event, now); ok {
				within(MaxText, append(slices.Clone(e.Details), e.Reason)...)
				commands(e.Commands)
				_, known := eventKinds[e.Kind]
				if !known || e.Time.IsZero() || e.Time.After(now) || len(e.Details) > MaxDetails+1 {
					t.Errorf("got %+v", e)
				}
			}
			if lost, ok := DecodeLost(&event); ok && lost.Err == nil {
				t.Error("a loss without a reason")
			}
		}
		var result Result
		if proto.Unmarshal(encoded, &result) == nil {
			r := DecodeResult(&result, time.Second)
			within(MaxText, append(slices.Clone(r.Details), r.Reason)...)
			commands(r.Commands)
			for _, s := range r.Steps {
				within(MaxName, s.Name)
				if s.Start < 0 || s.Start > time.Second || s.Took < 0 || s.Took > time.Second {
					t.Errorf("got %+v", s)
				}
			}
			if _, known := actions[r.Action]; !known || len(r.Steps) > MaxSteps || r.Took < 0 || r.Took > time.Second {
				t.Errorf("got %+v", r)
			}
		}
		var response ServersResponse
		if proto.Unmarshal(encoded, &response) == nil {
			for _, s := range DecodeServers(response.GetServers()) {
				within(MaxText, s.Backend, s.Name, s.Address, s.Status, s.Check)
				if s.InStatus < 0 || s.Weight < 0 || s.Sessions < 0 || s.Queue < 0 {
					t.Errorf("got %+v", s)
				}
			}
		}
		var snapshot Snapshot
		if proto.Unmarshal(encoded, &snapshot) == nil {
			s := DecodeSnapshot(&snapshot)
			within(MaxName, s.Sender)
			if _, known := causes[s.Cause]; !known {
				t.Errorf("the cause is %q", s.Cause)
			}
		}
	})
}
