package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// echoConfig names a directory in which the test puts the response of a plugin, and the plugin puts its request.
type echoConfig struct {
	Directory string `json:"directory"`
}

// echoSink records its requests and returns the response of the test.
type echoSink struct {
	directory string
	report    func(sdk.Event)
}

// response is any response of a sink.
type response struct {
	Result    sdk.Result
	Health    sdk.Health
	Event     sdk.Event
	Servers   []sdk.Server
	Error     string
	Kind      string // of the error: one of errorKinds
	Positions []sdk.Position
	After     time.Duration // 0 for no hint
}

var errorKinds = []string{"plain", "rejected", "refused", "deferred", "not loaded", "canceled"}

func (s response) error() error {
	if s.Error == "" {
		return nil
	}
	err := errors.New(s.Error)
	switch s.Kind {
	case "rejected":
		err = &sdk.Rejection{Err: errors.New(s.Error), Positions: s.Positions}
	case "refused":
		return sdk.RetryAfter(&sdk.Rejection{Err: errors.New(s.Error), Positions: s.Positions, Temporary: true}, s.After)
	case "deferred":
		return sdk.Deferred(s.Error, s.After)
	case "not loaded":
		err = sdk.NotLoaded(err)
	case "canceled":
		err = fmt.Errorf("%s: %w", s.Error, context.Canceled)
	}
	if s.After != 0 {
		err = sdk.RetryAfter(err, s.After)
	}
	return err
}

func (e *echoSink) answer() (s response, err error) {
	content, err := os.ReadFile(filepath.Join(e.directory, "answer"))
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	return s, err
}

func (e *echoSink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	content, err := json.Marshal(doc)
	if err != nil {
		return sdk.Result{}, err
	}
	if err := os.WriteFile(filepath.Join(e.directory, "asked"), content, 0o600); err != nil {
		return sdk.Result{}, err
	}
	if len(doc.Files) > 0 && string(doc.Files[0].Content) == "wait" {
		<-ctx.Done()
		return sdk.Result{}, context.Cause(ctx)
	}
	answer, err := e.answer()
	if err != nil {
		return sdk.Result{}, err
	}
	if answer.Event.Kind != "" {
		e.report(answer.Event)
	}
	return answer.Result, answer.error()
}

func (e *echoSink) OnEvent(report func(sdk.Event)) { e.report = report }

func (e *echoSink) Servers(context.Context) ([]sdk.Server, error) {
	answer, err := e.answer()
	return answer.Servers, errors.Join(err, answer.error())
}

func (e *echoSink) Check(context.Context, sdk.Document) error {
	answer, err := e.answer()
	return errors.Join(err, answer.error())
}

func (e *echoSink) Health(context.Context) (sdk.Health, error) {
	answer, err := e.answer()
	return answer.Health, err
}

// echoSource emits the snapshot of the test once.
type echoSource struct{ directory string }

func (e *echoSource) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	content, err := os.ReadFile(filepath.Join(e.directory, "answer"))
	if err != nil {
		return err
	}
	var snap sdk.Snapshot
	if err := json.Unmarshal(content, &snap); err != nil {
		return err
	}
	emit(snap)
	<-ctx.Done()
	return nil
}

// reportingSource is an echoSource that reports the health of the test.
type reportingSource struct{ echoSource }

func (r *reportingSource) Health(context.Context) (sdk.Health, error) {
	answer, err := (&echoSink{directory: r.directory}).answer()
	return answer.Health, errors.Join(err, answer.error())
}

func serveEcho(kind string) {
	info := sdk.Info{Name: "echo", Version: "1"}
	if kind == "sink" {
		serve.Sink(info, echoConfig{}, func(_ context.Context, _ sdk.Env, c echoConfig) (sdk.Sink, error) {
			return &echoSink{directory: c.Directory}, nil
		})
		return
	}
	serve.Source(info, echoConfig{}, func(_ context.Context, _ sdk.Env, c echoConfig) (sdk.Source, error) {
		if kind == "reporting source" {
			return &reportingSource{echoSource{c.Directory}}, nil
		}
		return &echoSource{c.Directory}, nil
	})
}

func echoOptions(tb testing.TB, kind string) (Options, string) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	directory := tb.TempDir()
	return Options{
		Name: "echo", Path: self, Env: []string{"ECHO_PLUGIN=" + kind}, Block: sdk.Block{"directory": directory},
		Log: slog.New(slog.DiscardHandler),
	}, directory
}

func put(tb testing.TB, path string, v any) {
	tb.Helper()
	content, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// randomValues makes values from a seed and a text that both JSON and protobuf can represent.
type randomValues struct {
	*rand.Rand
	text string
}

func newRandomValues(seed uint64, text string) randomValues {
	text = strings.ToValidUTF8(text, "?")
	// Longer texts are tested in limits_test.go.
	return randomValues{rand.New(rand.NewPCG(seed, 1)), strings.TrimSuffix(wire.Truncate(text, wire.MaxName-5), "…")}
}

func (w randomValues) word() string {
	runes := []rune(w.text)
	from := w.IntN(len(runes) + 1)
	return string(runes[from : from+w.IntN(len(runes)-from+1)])
}

func (w randomValues) list() []string {
	var list []string
	for range w.IntN(4) {
		list = append(list, w.word())
	}
	return list
}

func (w randomValues) positions() []sdk.Position {
	var positions []sdk.Position
	for range w.IntN(3) * w.IntN(5) {
		positions = append(positions, sdk.Position{File: w.word(), Path: w.word(), Line: w.IntN(9), Problem: w.word()})
	}
	return positions
}

func (w randomValues) commands() []sdk.Command {
	var commands []sdk.Command
	for range w.IntN(3) {
		commands = append(commands, sdk.Command{Sent: w.word(), Answer: w.word()})
	}
	return commands
}

func (w randomValues) servers() []sdk.Server {
	var servers []sdk.Server
	for range w.IntN(4) {
		servers = append(servers, sdk.Server{
			Backend: w.word(), Name: w.word(), Address: w.word(), Status: w.word(), InStatus: time.Duration(w.Int64()),
			Check: w.word(), Weight: w.IntN(256), Sessions: w.Int(), Queue: w.Int(),
		})
	}
	return servers
}

func (w randomValues) table() map[string]string {
	table := map[string]string{}
	for range w.IntN(4) {
		table[w.word()] = w.word()
	}
	return table
}

func (w randomValues) time() time.Time {
	if w.IntN(4) == 0 {
		return time.Time{}
	}
	return time.Unix(w.Int64N(1<<33), w.Int64N(1e9)).UTC()
}

func (w randomValues) instance(name string) sdk.Instance {
	i := sdk.Instance{
		ID: w.word(), Name: name, Image: w.word(), Hostname: w.word(), ProxyMode: w.word(), Status: sdk.Status(w.Int32()),
		Created: w.time(), Updated: w.time(), Labels: w.table(),
	}
	for range w.IntN(3) {
		i.Ports = append(i.Ports, sdk.Port{Type: w.word(), Port: w.Int64(), ServicePort: -w.Int64(), IP: w.word()})
	}
	return i
}

func FuzzSource_RoundTrip(f *testing.F) {
	options, directory := echoOptions(f, "source")
	source, err := StartSource(context.Background(), options)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = source.Close() })
	for seed := range uint64(20) {
		f.Add(seed, "web-1.example ☃\x00\n\"#{}")
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		w := newRandomValues(seed, text)
		want := sdk.Snapshot{
			Source: "echo", Cluster: w.word(), Taken: w.time(), Changed: w.time(),
			Cause: knownCauses[w.IntN(len(knownCauses))], Sender: w.word(),
		}
		var instances []sdk.Instance
		for range w.IntN(6) {
			instances = append(instances, w.instance(w.word()))
		}
		want.Services = sdk.GroupByName(instances)
		if w.IntN(2) == 0 {
			want.Last = &sdk.Change{Instance: w.instance("x"), PreviousStatus: sdk.Status(w.IntN(5)), Time: w.time()}
		}
		put(t, filepath.Join(directory, "answer"), want)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got sdk.Snapshot
		if err := source.Watch(ctx, func(s sdk.Snapshot) { got = s; cancel() }); err != nil {
			t.Fatal(err)
		}
		if want.Taken.IsZero() {
			want.Taken = got.Taken // the daemon's own clock
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-sent +received)\n%s", diff)
		}
	})
}

func FuzzSink_RoundTrip(f *testing.F) {
	options, directory := echoOptions(f, "sink")
	sink, err := StartSink(context.Background(), options)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = sink.Close() })
	for seed := range uint64(20) {
		f.Add(seed, "nginx: ☃ \x00\n", []byte{0, 255, 10})
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string, content []byte) {
		w := newRandomValues(seed, text)
		doc := sdk.Document{Pipeline: w.word(), Generation: w.Uint64(), Digest: w.word()}
		for range w.IntN(4) {
			doc.Files = append(doc.Files, sdk.File{Name: w.word(), Content: content})
		}
		want := response{
			Result: sdk.Result{
				Action: knownActions[w.IntN(len(knownActions))], Reason: w.word(), Took: 1, Details: w.list(),
				Commands: w.commands(), Steps: []sdk.Step{{Name: w.word(), Start: 1, Took: time.Duration(w.IntN(2))}},
			},
			Event: sdk.Event{
				Kind: knownEvents[w.IntN(len(knownEvents))], Time: w.time(), Reason: w.word(), Details: w.list(),
				Generation: doc.Generation, Commands: w.commands(),
			},
			Servers: w.servers(),
			Health:  sdk.Health{Problems: w.list(), Facts: map[string]string{"x" + w.word(): w.word()}},
			Error:   w.word(), Kind: errorKinds[w.IntN(len(errorKinds))], After: time.Duration(w.IntN(2)) * time.Minute,
			Positions: w.positions(),
		}
		put(t, filepath.Join(directory, "answer"), want)

		result, err := sink.Apply(t.Context(), doc)
		if diff := cmp.Diff(want.Result, result, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("result (-sent +received)\n%s", diff)
		}
		sameError(t, want.error(), err)
		sameError(t, want.error(), sink.Check(t.Context(), doc))
		event := <-sink.Events()
		if want.Event.Time.IsZero() || want.Event.Time.After(event.Time) { // it is the clock of one of the processes
			want.Event.Time = event.Time
		}
		if diff := cmp.Diff(want.Event, event, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("event (-sent +received)\n%s", diff)
		}
		servers, err := sink.Servers(t.Context())
		sameError(t, want.error(), err)
		if diff := cmp.Diff(want.Servers, servers, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("servers (-sent +received)\n%s", diff)
		}
		asked, err := os.ReadFile(filepath.Join(directory, "asked"))
		if err != nil {
			t.Fatal(err)
		}
		var got sdk.Document
		if err := json.Unmarshal(asked, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(doc, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("document (-sent +received)\n%s", diff)
		}
		health, err := sink.Health(t.Context())
		for fact, value := range want.Health.Facts {
			if health.Facts[fact] != value {
				t.Errorf("fact %q is %q, want %q", fact, health.Facts[fact], value)
			}
		}
		if diff := cmp.Diff(want.Health.Problems, health.Problems, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("problems (-sent +received)\n%s%v", diff, err)
		}
	})
}

var (
	knownCauses = []string{"", sdk.CausePush, sdk.CauseWatch, sdk.CauseResync}
	knownEvents = []string{
		sdk.EventCrashed, sdk.EventRestarted, sdk.EventReloaded, sdk.EventForeignReload, sdk.EventDriftRepaired,
		sdk.EventReverted, sdk.EventLoadFailed, sdk.EventOther,
	}
)

var knownActions = []string{
	sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten, sdk.ActionOther, "",
}

// sameError compares the text, the kind, the positions and the retry hint of two errors.
func sameError(t *testing.T, want, got error) {
	t.Helper()
	tell := func(err error) string {
		retry, _ := errors.AsType[*sdk.RetryError](err)
		rejection, ok := errors.AsType[*sdk.Rejection](err)
		var positions []sdk.Position
		if ok {
			positions = rejection.Positions
		}
		return fmt.Sprintf("%v, rejected %v %v at %+v, %+v, deferred %v, not loaded %v, canceled %v", err,
			errors.Is(err, sdk.ErrRejected), ok, positions, retry, errors.Is(err, sdk.ErrDeferred),
			errors.Is(err, sdk.ErrNotLoaded), errors.Is(err, context.Canceled))
	}
	if tell(want) != tell(got) {
		t.Errorf("sent %s\nreceived %s", tell(want), tell(got))
	}
}

// Errors keep their kind and all their fields.
func TestSink_EveryKindOfError(t *testing.T) {
	options, directory := echoOptions(t, "sink")
	sink, err := StartSink(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	for _, kind := range errorKinds {
		for _, positions := range [][]sdk.Position{nil, wrongPositions} {
			for _, after := range []time.Duration{0, time.Minute} {
				sent := response{Error: "it went wrong", Kind: kind, Positions: positions, After: after}
				put(t, filepath.Join(directory, "answer"), sent)
				_, err := sink.Apply(t.Context(), document("text"))
				sameError(t, sent.error(), err)
				sameError(t, sent.error(), sink.Check(t.Context(), document("text")))
			}
		}
	}
}

func TestApply_InvalidUTF8(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	_, err := sink.Apply(t.Context(), document("latin"))
	if err == nil || err.Error() != "caf\uFFFD" {
		t.Errorf("got %v", err)
	}
}
