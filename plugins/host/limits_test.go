package host

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// excessivePlugin returns more than the limits allow, and facts that only the host may set.
type excessivePlugin struct {
	lost   func(sdk.Lost)
	report func(sdk.Event)
}

func serveExcessive() {
	info := sdk.Info{Name: longText, Version: longText}
	serve.Sink(info, echoConfig{}, func(_ context.Context, _ sdk.Env, c echoConfig) (sdk.Sink, error) {
		if c.Directory == "faults" {
			var faults sdk.Faults
			for range 5000 {
				faults = append(faults, sdk.Fault{Key: c.Directory, Problem: longText[:1000]})
			}
			return nil, faults
		}
		return &excessivePlugin{}, nil
	})
}

var longText = strings.Repeat("ü", 50_000)

func (l *excessivePlugin) OnLost(lost func(sdk.Lost)) { l.lost = lost }

func (l *excessivePlugin) OnEvent(report func(sdk.Event)) { l.report = report }

func (l *excessivePlugin) Servers(context.Context) ([]sdk.Server, error) {
	servers := make([]sdk.Server, wire.MaxServers+1)
	servers[0] = sdk.Server{
		Backend: longText, Name: longText, Address: longText, Status: longText, InStatus: -1, Check: longText,
		Weight: -1, Sessions: -1, Queue: -1,
	}
	return servers, nil
}

func (l *excessivePlugin) Apply(_ context.Context, doc sdk.Document) (sdk.Result, error) {
	result := sdk.Result{Action: "teleported", Reason: longText, Took: -time.Hour, Details: manyTexts(3000)}
	for range 3000 {
		result.Commands = append(result.Commands, sdk.Command{Sent: longText[:1000], Answer: longText[:1000]})
		result.Steps = append(result.Steps, sdk.Step{Name: longText[:1000], Start: time.Hour, Took: time.Hour})
	}
	result.Commands[0] = sdk.Command{Sent: longText, Answer: longText}
	switch string(doc.Files[0].Content) {
	case "reject":
		var positions []sdk.Position
		for range 30_000 {
			positions = append(positions, sdk.Position{File: "main", Line: -5, Problem: "no"})
		}
		positions[0].Problem, positions[0].File, positions[0].Path = longText, longText, longText
		return sdk.Result{}, &sdk.Rejection{Err: errors.New(longText), Positions: positions}
	case "defer":
		return sdk.Result{}, sdk.Deferred(longText, 100*365*24*time.Hour)
	case "defer back":
		return sdk.Result{}, sdk.Deferred("soon", -time.Hour)
	case "too much":
		result.Details = append(result.Details, strings.Repeat("x", maxResponse))
	case "lose":
		l.lost(sdk.Lost{Err: errors.New(longText), Generation: 1 << 60})
	case "report":
		l.report(sdk.Event{
			Kind: longText, Time: time.Now().Add(time.Hour), Reason: longText, Generation: 1 << 60,
			Commands: result.Commands, Details: result.Details,
		})
	case "say nothing of the loss":
		l.lost(sdk.Lost{})
	}
	return result, nil
}

func manyTexts(n int) []string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i)+longText[:1000])
	}
	return all
}

func (l *excessivePlugin) Health(context.Context) (sdk.Health, error) {
	facts := map[string]string{
		"plugin": "other 9", "plugin_pid": "1", "plugin_restarts": "-3", "plugin_last_end": "never", "a": longText,
	}
	for i := range 3000 {
		facts["z"+strconv.Itoa(i)+longText[:1000]] = "1"
	}
	return sdk.Health{Problems: manyTexts(3000), Facts: facts}, nil
}

func startExcessive(t *testing.T, block sdk.Block) (*Sink, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Env: []string{"EXCESSIVE_PLUGIN=1"}, Block: block, Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		t.Cleanup(func() { _ = sink.Close() })
	}
	return sink, err
}

func TestLimits_SinkResponses(t *testing.T) {
	sink, err := startExcessive(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	short := func(what, text string, limit int) {
		t.Helper()
		if len(text) > limit+len("…") {
			t.Errorf("%s has %d bytes, more than %d", what, len(text), limit)
		}
	}
	short("the name", sink.Info().Name, wire.MaxName)
	short("the version", sink.Info().Version, wire.MaxName)

	result, err := sink.Apply(t.Context(), document("text"))
	if err != nil || result.Action != sdk.ActionOther || result.Took != 0 || len(result.Details) != wire.MaxDetails+1 ||
		len(result.Commands) != wire.MaxCommands || len(result.Steps) != wire.MaxSteps {
		t.Errorf("%v: action %q, took %v, %d details, %d commands, %d steps",
			err, result.Action, result.Took, len(result.Details), len(result.Commands), len(result.Steps))
	}
	short("the reason", result.Reason, wire.MaxText)
	short("a command", result.Commands[0].Sent, wire.MaxText)
	short("an answer", result.Commands[0].Answer, wire.MaxText)
	short("a step", result.Steps[0].Name, wire.MaxName)

	_, err = sink.Apply(t.Context(), document("reject"))
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) != wire.MaxPositions || rejection.Positions[0].Line != 0 {
		t.Fatalf("%T with %d positions", err, len(rejection.Positions))
	}
	short("the sentence", rejection.Err.Error(), wire.MaxError)
	for _, text := range []string{rejection.Positions[0].Problem, rejection.Positions[0].File, rejection.Positions[0].Path} {
		short("a position", text, wire.MaxText)
	}

	for content, after := range map[string]time.Duration{"defer": wire.MaxRetryAfter, "defer back": 0} {
		_, err = sink.Apply(t.Context(), document(content))
		if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || !errors.Is(err, sdk.ErrDeferred) || retry.After != after {
			t.Errorf("%s: %T", content, err)
		}
	}

	if _, err = sink.Apply(t.Context(), document("too much")); err == nil {
		t.Error("an answer that is too large is taken")
	}
	short("the error", err.Error(), wire.MaxError)

	for _, content := range []string{"lose", "say nothing of the loss"} {
		if _, err = sink.Apply(t.Context(), document(content)); err != nil {
			t.Fatal(err)
		}
		lost := <-sink.Lost()
		if lost.Generation != 0 || lost.Err == nil {
			t.Errorf("lost generation %d, %v", lost.Generation, lost.Err)
		}
		short("the loss", lost.Err.Error(), wire.MaxError)
	}
}

func TestLimits_Events(t *testing.T) {
	sink, err := startExcessive(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Apply(t.Context(), document("report")); err != nil {
		t.Fatal(err)
	}
	event := <-sink.Events()
	if event.Kind != sdk.EventOther || event.Generation != 0 || event.Time.After(time.Now()) ||
		len(event.Reason) > wire.MaxText+3 || len(event.Commands) != wire.MaxCommands ||
		len(event.Details) != wire.MaxDetails+1 {
		t.Errorf("%q of generation %d at %v, %d bytes of reason, %d commands, %d details", event.Kind, event.Generation,
			event.Time, len(event.Reason), len(event.Commands), len(event.Details))
	}
}

func TestRecordEvent_DropsTheOldest(t *testing.T) {
	s := &supervisor{events: make(chan sdk.Event, maxEvents)}
	for i := range 3 * maxEvents {
		s.recordEvent(sdk.Event{Reason: strconv.Itoa(i)})
	}
	if first := <-s.events; first.Reason != strconv.Itoa(2*maxEvents) || len(s.events) != maxEvents-1 {
		t.Errorf("the oldest is %q and %d more wait", first.Reason, len(s.events))
	}
}

func TestLimits_Servers(t *testing.T) {
	sink, err := startExcessive(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	servers, err := sink.Servers(t.Context())
	if err != nil || len(servers) != wire.MaxServers {
		t.Fatalf("%d servers, %v", len(servers), err)
	}
	first := servers[0]
	for _, text := range []string{first.Backend, first.Name, first.Address, first.Status, first.Check} {
		if len(text) > wire.MaxText+3 {
			t.Errorf("a text has %d bytes", len(text))
		}
	}
	if first.InStatus != 0 || first.Weight != 0 || first.Sessions != 0 || first.Queue != 0 {
		t.Errorf("got %v, %d, %d, %d", first.InStatus, first.Weight, first.Sessions, first.Queue)
	}
}

func TestLimits_Health(t *testing.T) {
	sink, err := startExcessive(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	health, err := sink.Health(t.Context())
	if err != nil || len(health.Problems) != wire.MaxProblems+1 || len(health.Facts) > wire.MaxFacts+4 {
		t.Errorf("%d problems, %d facts, %v", len(health.Problems), len(health.Facts), err)
	}
	for name, value := range health.Facts {
		if len(name) > wire.MaxName+3 || len(value) > wire.MaxText+3 {
			t.Errorf("the fact %.20s has %d and %d bytes", name, len(name), len(value))
		}
	}
	_, ended := health.Facts["plugin_last_end"]
	if health.Facts["plugin_pid"] != strconv.Itoa(sink.PID()) || health.Facts["plugin_restarts"] != "0" || ended ||
		health.Facts["plugin"] == "other 9" {
		t.Errorf("it passes for another: %v", health.Facts["plugin_pid"])
	}
}

func TestLimits_Faults(t *testing.T) {
	_, err := startExcessive(t, sdk.Block{"directory": "faults"})
	faults, ok := errors.AsType[sdk.Faults](err)
	if !ok || len(faults) != wire.MaxFaults+1 {
		t.Errorf("%T, %d faults", err, len(faults))
	}
}

// portsOf encodes a snapshot with n empty ports, of two bytes each.
func portsOf(n int) []byte {
	ports := make([]byte, 0, 2*n)
	for range n {
		ports = protowire.AppendTag(ports, 5, protowire.BytesType)
		ports = protowire.AppendBytes(ports, nil)
	}
	nest := func(field protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), content)
	}
	return nest(1, nest(5, nest(2, ports)))
}

func TestCodec_SmallMessageThatTakesMuchMemory(t *testing.T) {
	encoded := portsOf(8 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := newLimitedCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(encoded)}, &wire.WatchResponse{})
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Error("it is decoded")
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("refusing it took %d MiB", took>>20)
	}
}

func TestCodec_UsualMessages(t *testing.T) {
	snapshot := &wire.Snapshot{Cluster: "c"}
	for s := range 500 {
		service := &wire.Service{Name: "s" + strconv.Itoa(s)}
		for i := range 40 {
			service.Instances = append(service.Instances, &wire.Instance{
				Id: strconv.Itoa(i), Name: service.Name, Hostname: "host", Image: "registry.example.com/service:1.2.3",
				Ports:  []*wire.Port{{Type: "tcp", Port: 1, ServicePort: 2, Ip: "10.0.0.1"}, {Type: "tcp", Port: 3}},
				Labels: map[string]string{"a": "b", "version": "1.2.3", "team": "x"},
			})
		}
		snapshot.Services = append(snapshot.Services, service)
	}
	codec := newLimitedCodec()
	for _, want := range []proto.Message{
		&wire.WatchResponse{Snapshot: snapshot},
		&wire.HealthResponse{Problems: []string{"x"}, Facts: map[string]string{"a": "b"}},
		&wire.AttachEvent{}, &wire.ConfigureResponse{Name: "n", Kind: wire.Kind_KIND_SINK},
	} {
		encoded, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := want.ProtoReflect().New().Interface()
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(encoded)}, got); err != nil || !proto.Equal(want, got) {
			t.Errorf("%T: %v", want, err)
		}
	}
}

// Invalid messages and invalid UTF-8 are errors, as they are for protobuf.
func FuzzCodec(f *testing.F) {
	f.Add([]byte{0x0a, 0x01, 0xff})
	f.Add(portsOf(3))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		got, want := &wire.WatchResponse{}, &wire.WatchResponse{}
		err := newLimitedCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(encoded)}, got)
		if plain := proto.Unmarshal(encoded, want); (plain == nil) != (err == nil) || err == nil && !proto.Equal(want, got) {
			t.Errorf("%v, where protobuf says %v", err, plain)
		}
	})
}
