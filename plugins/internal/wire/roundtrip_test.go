package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const rounds = 200

// random fills values of every type that the contract uses, so that a field which is added and not converted fails a test.
type random struct {
	*rand.Rand
	t *testing.T
}

func newRandom(t *testing.T) random {
	return random{rand.New(rand.NewPCG(1, 2)), t}
}

func (r random) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		if r.IntN(4) > 0 {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()))
		}
		return
	case time.Duration:
		v.SetInt(r.Int64N(int64(time.Hour)))
		return
	case error:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "web", "☃\x00\n\"#{}", strconv.Itoa(r.Int())}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		v.SetInt(r.Int64N(math.MaxInt32))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()))
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	case reflect.Uint8:
		v.SetUint(r.Uint64N(256))
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fill(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			r.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			r.fill(key)
			r.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i))
		}
	case reflect.Interface: // errors are made by randomError
	default:
		r.t.Fatalf("no random value of type %s", v.Type())
	}
}

// value returns a random T.
func value[T any](r random) T {
	var v T
	r.fill(reflect.ValueOf(&v).Elem())
	return v
}

// sent returns the message as the other process receives it.
func sent[M proto.Message](t *testing.T, message M) M {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	received := message.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(encoded, received); err != nil {
		t.Fatal(err)
	}
	return received.(M)
}

func equal[T any](t *testing.T, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-sent +received)\n%s", diff)
	}
}

func TestRoundTrip_Document(t *testing.T) {
	r := newRandom(t)
	for range rounds {
		want := value[sdk.Document](r)
		equal(t, want, DecodeDocument(sent(t, EncodeDocument(want))))
		watched := value[sdk.Watched](r)
		equal(t, watched, DecodeWatched(sent(t, EncodeWatched(watched))))
	}
}

func TestRoundTrip_Result(t *testing.T) {
	r := newRandom(t)
	actions := []string{
		sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten, sdk.ActionOther, "",
	}
	for range rounds {
		want := value[sdk.Result](r)
		want.Action = actions[r.IntN(len(actions))]
		equal(t, want, DecodeResult(sent(t, EncodeResult(want)), time.Hour))
	}
	slow := sdk.Result{Took: time.Hour, Steps: []sdk.Step{{Name: "check", Start: -time.Second, Took: time.Hour}}}
	if got := DecodeResult(sent(t, EncodeResult(slow)), time.Second); got.Took != time.Second ||
		got.Steps[0] != (sdk.Step{Name: "check", Took: time.Second}) {
		t.Errorf("it took longer than the call: %+v", got)
	}
	if got := DecodeResult(sent(t, EncodeResult(sdk.Result{Action: "teleported"})), 0); got.Action != sdk.ActionOther {
		t.Errorf("an unknown action becomes %q", got.Action)
	}
}

// A change of many servers must not exceed what the daemon accepts.
func TestRoundTrip_ManyCommands(t *testing.T) {
	for _, test := range []struct{ count, want int }{
		{MaxCommands, 0}, {MaxCommands + 1, 2}, {200_000, 200_000 - MaxCommands + 1},
	} {
		all := make([]sdk.Command, test.count)
		for i := range all {
			all[i].Sent = strings.Repeat("x", 1000)
		}
		message := sent(t, EncodeEvent(sdk.Event{Commands: all}))
		if size := proto.Size(message); size > 2000*MaxCommands {
			t.Errorf("%d commands take %d bytes", test.count, size)
		}
		event, _ := DecodeEvent(message, time.Now())
		want := all[0].Sent
		if test.want > 0 {
			want = strconv.Itoa(test.want) + " more"
		}
		if got := event.Commands; len(got) != MaxCommands || got[MaxCommands-1].Sent != want {
			t.Errorf("of %d commands %d arrive, the last is %.20q", test.count, len(got), got[len(got)-1].Sent)
		}
	}
	// A plugin in another language may not bound them.
	event, _ := DecodeEvent(&AttachEvent{Event: &Event{Commands: make([]*Command, 3*MaxCommands)}}, time.Now())
	if got := event.Commands; len(got) != MaxCommands+1 || got[MaxCommands].Sent != strconv.Itoa(2*MaxCommands)+" more" {
		t.Errorf("%d commands arrive, the last is %q", len(got), got[len(got)-1].Sent)
	}
}

func TestRoundTrip_Health(t *testing.T) {
	r := newRandom(t)
	for range rounds {
		want := value[sdk.Health](r)
		equal(t, want, DecodeHealth(sent(t, EncodeHealth(want))))
	}
}

func TestRoundTrip_Snapshot(t *testing.T) {
	r := newRandom(t)
	causes := []string{"", sdk.CausePush, sdk.CauseWatch, sdk.CauseResync}
	if got := DecodeSnapshot(sent(t, EncodeSnapshot(sdk.Snapshot{Cause: "a dream"}))); got.Cause != "" {
		t.Errorf("an unknown cause becomes %q", got.Cause)
	}
	if got := DecodeSnapshot(&Snapshot{Cause: 1000}); got.Cause != "" {
		t.Errorf("a cause of a newer plugin becomes %q", got.Cause)
	}
	for range rounds {
		want := value[sdk.Snapshot](r)
		want.Cause = causes[r.IntN(len(causes))]
		var instances []sdk.Instance
		for _, service := range want.Services {
			for _, i := range service.Instances {
				i.Invalid = ""
				instances = append(instances, i)
			}
		}
		want.Services = sdk.GroupByName(instances)
		if want.Last != nil {
			want.Last.Instance.Invalid = ""
		}
		equal(t, want, DecodeSnapshot(sent(t, EncodeSnapshot(want))))
	}
}

func TestRoundTrip_Event(t *testing.T) {
	r := newRandom(t)
	kinds := []string{
		sdk.EventCrashed, sdk.EventRestarted, sdk.EventReloaded, sdk.EventForeignReload, sdk.EventDriftRepaired,
		sdk.EventReverted, sdk.EventLoadFailed, sdk.EventOther,
	}
	now := time.Unix(1<<33, 0).UTC()
	if _, ok := DecodeEvent(&AttachEvent{}, now); ok {
		t.Error("the first message has an event")
	}
	for range rounds {
		want := value[sdk.Event](r)
		want.Kind = kinds[r.IntN(len(kinds))]
		message := sent(t, EncodeEvent(want))
		if _, ok := DecodeLost(message); ok {
			t.Error("an event is a loss")
		}
		got, ok := DecodeEvent(message, now)
		if !ok {
			t.Fatal("the event does not arrive")
		}
		if want.Time.IsZero() {
			want.Time = now
		}
		equal(t, want, got)
	}
	for _, message := range []*AttachEvent{
		EncodeEvent(sdk.Event{Kind: "vanished", Time: now.Add(time.Hour)}), {Event: &Event{Kind: 1000}}, {Event: &Event{}},
		{Event: &Event{Time: &timestamppb.Timestamp{Seconds: math.MinInt64}}}, // which JSON cannot express
		{Event: &Event{Time: &timestamppb.Timestamp{Nanos: -1}}},
	} {
		if got, _ := DecodeEvent(message, now); got.Kind != sdk.EventOther || !got.Time.Equal(now) {
			t.Errorf("got %q at %v", got.Kind, got.Time)
		}
	}
}

func TestRoundTrip_Servers(t *testing.T) {
	r := newRandom(t)
	for range rounds {
		want := value[[]sdk.Server](r)
		equal(t, want, DecodeServers(sent(t, &ServersResponse{Servers: EncodeServers(want)}).GetServers()))
	}
	impossible := DecodeServers([]*Server{{Weight: -1, Sessions: -2, Queue: math.MinInt64}})
	equal(t, []sdk.Server{{}}, impossible)
}

func TestRoundTrip_Faults(t *testing.T) {
	r := newRandom(t)
	for range rounds {
		want := value[sdk.Faults](r)
		equal(t, want, DecodeFaults(sent(t, &ConfigureResponse{Faults: EncodeFaults(want)}).GetFaults()))
	}
}

// randomError returns an error of any of the kinds that cross the process boundary.
func randomError(r random) error {
	cause := errors.New("it failed " + value[string](r))
	positions := value[[]sdk.Position](r)
	after := value[time.Duration](r)
	err := []error{
		cause,
		&sdk.Rejection{Err: cause, Positions: positions},
		sdk.RetryAfter(&sdk.Rejection{Err: cause, Positions: positions, Temporary: true}, after),
		sdk.Deferred(cause.Error(), after),
		sdk.NotLoaded(cause),
		fmt.Errorf("%w: %w", cause, errors.ErrUnsupported),
		fmt.Errorf("%w: %w", cause, context.Canceled),
	}[r.IntN(7)]
	if r.IntN(2) == 0 && !errors.Is(err, sdk.ErrDeferred) {
		err = sdk.RetryAfter(err, after)
	}
	return err
}

// errorFields is what must survive of an error.
type errorFields struct {
	Text                                                 string
	Rejected, Deferred, NotLoaded, Unsupported, Canceled bool
	Temporary                                            bool
	Positions                                            []sdk.Position
	Retry                                                bool
	After                                                time.Duration
}

func fieldsOf(err error) errorFields {
	if err == nil {
		return errorFields{}
	}
	f := errorFields{
		Text: err.Error(), Rejected: errors.Is(err, sdk.ErrRejected), Deferred: errors.Is(err, sdk.ErrDeferred),
		NotLoaded: errors.Is(err, sdk.ErrNotLoaded), Unsupported: errors.Is(err, errors.ErrUnsupported),
		Canceled: errors.Is(err, context.Canceled),
	}
	if rejection, ok := errors.AsType[*sdk.Rejection](err); ok {
		f.Positions, f.Temporary = rejection.Positions, rejection.Temporary
	}
	if retry, ok := errors.AsType[*sdk.RetryError](err); ok {
		f.Retry, f.After = true, retry.After
	}
	return f
}

func TestRoundTrip_Error(t *testing.T) {
	r := newRandom(t)
	if err := DecodeError(EncodeError(nil)); err != nil {
		t.Errorf("nil becomes %v", err)
	}
	for range rounds {
		want := randomError(r)
		equal(t, fieldsOf(want), fieldsOf(DecodeError(sent(t, EncodeError(want)))))
		wrapped := fmt.Errorf("doing this: %w", want)
		equal(t, fieldsOf(wrapped), fieldsOf(DecodeError(sent(t, EncodeError(wrapped)))))
	}
}

func TestRoundTrip_Lost(t *testing.T) {
	r := newRandom(t)
	if _, ok := DecodeLost(&AttachEvent{}); ok {
		t.Error("the first event reports a loss")
	}
	for range rounds {
		want := value[sdk.Lost](r)
		want.Err = randomError(r)
		got, ok := DecodeLost(sent(t, EncodeLost(want)))
		if !ok {
			t.Fatal("the loss does not arrive")
		}
		equal(t, fieldsOf(want.Err), fieldsOf(got.Err))
		want.Err, got.Err = nil, nil
		equal(t, want, got)
	}
	if lost, ok := DecodeLost(EncodeLost(sdk.Lost{})); !ok || lost.Err == nil {
		t.Errorf("a loss without a reason becomes %v", lost)
	}
}
