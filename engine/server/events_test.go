package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A receivedEvent is an event as a client parses it.
type receivedEvent struct{ id, kind, data string }

// parseEvents returns the complete events in the text of a stream, and the last id, which need not belong to an event.
func parseEvents(text string) (events []receivedEvent, lastID string) {
	blocks := strings.Split(text, "\n\n")
	for _, block := range blocks[:len(blocks)-1] { // the last one is not complete
		var e receivedEvent
		for line := range strings.Lines(block) {
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "id":
				e.id, lastID = value, value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			}
		}
		if e.data != "" {
			events = append(events, e)
		}
	}
	return events, lastID
}

// generation returns the generation in a change event.
func (e receivedEvent) generation(t *testing.T) uint64 {
	t.Helper()
	var change ChangeEvent
	if err := json.Unmarshal([]byte(e.data), &change); err != nil || e.kind != eventChange {
		t.Fatalf("%+v is no change: %v", e, err)
	}
	return change.Change.Generation
}

// add adds change events of the pipeline p with these generations.
func (e *Events) add(generations ...uint64) {
	for _, g := range generations {
		e.Changed("p", history.Change{Generation: g, Outcome: history.OutcomeApplied})
	}
}

// read returns the events that are there already.
func (r *eventReader) read() []receivedEvent {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	var all []receivedEvent
	for text := r.next(done); text != nil; text = r.next(done) {
		events, _ := parseEvents(string(text))
		all = append(all, events...)
	}
	return all
}

func kindsOf(events []receivedEvent) []string {
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.kind)
	}
	return kinds
}

func TestEvents_Change(t *testing.T) {
	e := NewEvents()
	reader := e.reader("")
	c := history.Change{
		Generation: 7, Document: 7, Outcome: history.OutcomeApplied, Action: sdk.ActionReload, Reason: "<b>a new\nline</b>",
		Trigger: history.Trigger{Kind: history.TriggerPush, Detail: "192.0.2.7"}, Instances: []string{"web: +node-1"},
		Commands: []history.Command{{Sent: "set server password hunter2"}},
	}
	e.Changed("p", c)
	got := reader.read()
	if len(got) != 1 || got[0].kind != eventChange || got[0].id != e.id(1) {
		t.Fatalf("got %+v", got)
	}
	var data ChangeEvent
	if err := json.Unmarshal([]byte(got[0].data), &data); err != nil {
		t.Fatal(err)
	}
	c.Commands[0].Sent = "set server password ***"
	if diff := cmp.Diff(ChangeEvent{Pipeline: "p", Change: c}, data); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A status event follows the last change of the status, and there are at most a few per second.
func TestEvents_StatusIsCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		reader := e.reader("")
		e.StatusChanged("p")
		if got := len(reader.read()); got != 1 {
			t.Fatalf("%d events after the first change, want 1", got)
		}
		for range 1000 {
			e.StatusChanged("p")
			time.Sleep(time.Millisecond)
		}
		e.StatusChanged("other")
		time.Sleep(statusInterval)
		synctest.Wait()
		got := map[string]int{}
		for _, event := range reader.read() {
			var data StatusEvent
			if err := json.Unmarshal([]byte(event.data), &data); err != nil || event.kind != eventStatus {
				t.Fatalf("%+v: %v", event, err)
			}
			got[data.Pipeline]++
		}
		if diff := cmp.Diff(map[string]int{"p": 4, "other": 1}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		time.Sleep(time.Hour)
		if late := reader.read(); len(late) > 0 {
			t.Errorf("%d events without a change", len(late))
		}
	})
}

func TestEvents_NoStatusEventsOfRemovedPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		e.StatusChanged("p")
		e.StatusChanged("p")
		reader := e.reader("")
		e.SetComponents(Components{Pipelines: []string{"other"}, Sources: []string{"p"}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := reader.read(); len(got) > 0 || len(e.statuses) > 0 {
			t.Errorf("got %v, kept %v", got, e.statuses)
		}
	})
}

func TestEvents_AreBounded(t *testing.T) {
	e := NewEvents()
	for g := range uint64(3 * maxEvents) {
		e.add(g)
	}
	if len(e.kept) != maxEvents {
		t.Errorf("%d events are kept, want %d", len(e.kept), maxEvents)
	}
	large := history.Change{Details: []string{strings.Repeat("x", maxEventBytes-1000)}}
	for range 3 * maxEvents {
		e.Changed("p", large)
	}
	sum := 0
	for _, kept := range e.kept {
		sum += kept.size
	}
	if sum != e.bytes || sum > maxEventsBytes || sum < maxEventsBytes/2 {
		t.Errorf("events of %d bytes are kept, counted %d, want at most %d", sum, e.bytes, maxEventsBytes)
	}
}

func TestBoundedChange(t *testing.T) {
	small := history.Change{Generation: 1, Reason: "r", Instances: []string{"a"}, Commands: []history.Command{{Sent: "s"}}}
	if got, _, truncated := boundedChange(small); truncated || cmp.Diff(small, got) != "" {
		t.Errorf("a small change became %+v", got)
	}
	large := history.Change{
		Generation: 1, Error: strings.Repeat("é", 1000), InstancesMore: 1, CommandsMore: 1,
		Instances: slices.Repeat([]string{"web: +node"}, 5000), Commands: slices.Repeat([]history.Command{{Sent: "s"}}, 5000),
		Notes: slices.Repeat([]string{"a note"}, 5000), Steps: slices.Repeat([]history.Step{{Name: "reload"}}, 5000),
	}
	got, size, truncated := boundedChange(large)
	content, err := json.Marshal(got)
	if err != nil || !truncated || size > maxEventBytes || len(content) > 3*maxEventBytes {
		t.Errorf("truncated %v, size %d, %d bytes of JSON, %v", truncated, size, len(content), err)
	}
	if got.Error != large.Error || len(got.Instances)+got.InstancesMore != 5001 || len(got.Commands)+got.CommandsMore != 5001 {
		t.Errorf("error of %d bytes, %d instances and %d more, %d commands and %d more",
			len(got.Error), len(got.Instances), got.InstancesMore, len(got.Commands), got.CommandsMore)
	}
	if len(large.Instances) != 5000 {
		t.Error("the change was modified")
	}
	long := history.Change{Error: strings.Repeat("é", maxEventBytes)}
	long.Trigger.Kind = "x" // the bound is in the middle of a letter
	if got, _, truncated := boundedChange(long); !truncated || got.Error != strings.Repeat("é", maxEventBytes/2-1) {
		t.Errorf("%d bytes of the error remain", len(got.Error))
	}
}

func TestEventReader_Resume(t *testing.T) {
	e := NewEvents()
	e.add(1, 2, 3)
	other := NewEvents()
	other.add(1, 2, 3)
	for name, test := range map[string]struct {
		id   string
		want []string
	}{
		"no id":                     {"", nil},
		"the newest event":          {e.id(3), nil},
		"an event before":           {e.id(1), []string{eventChange, eventChange}},
		"before the first event":    {e.id(0), []string{eventChange, eventChange, eventChange}},
		"an event to come":          {e.id(4), []string{eventReset}},
		"an event of another epoch": {other.id(2), []string{eventReset}},
		"no number":                 {e.epoch + "-x", []string{eventReset}},
		"a negative number":         {e.epoch + "--1", []string{eventReset}},
		"a large number":            {e.epoch + "-18446744073709551615", []string{eventReset}},
		"not an id":                 {"\x00\n", []string{eventReset}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, kindsOf(e.reader(test.id).read())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	late := e.reader(e.id(0))
	for range 2 * maxEvents {
		e.add(9)
	}
	if got := late.read(); !slices.Equal(got, []receivedEvent{{e.id(e.newest), eventReset, "{}"}}) {
		t.Errorf("a reader whose events are no longer kept: %v", got)
	}
	e.add(10)
	if got := late.read(); len(got) != 1 || got[0].generation(t) != 10 {
		t.Errorf("after the reset: %v", got)
	}
}

// Whatever the order of events, reads and reconnections, a client gets every event once and in order, unless it is told that some
// are missing.
func TestEventReader_AnyOrder(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		e := NewEvents()
		reader, lastID := e.reader(""), e.id(0)
		want := uint64(1)
		for next := uint64(1); next < 4000; {
			burst := 1 + random.Uint64N(20)
			if random.IntN(100) == 0 {
				burst = maxEvents + 10
			}
			missed := next - want + burst
			for range burst {
				e.add(next)
				next++
			}
			if random.IntN(3) == 0 {
				reader = e.reader(lastID)
			}
			if random.IntN(2) == 0 {
				continue
			}
			for i, event := range reader.read() {
				lastID = event.id
				if event.kind == eventReset && i == 0 && missed > maxEvents {
					want = next
					continue
				}
				if got := event.generation(t); got != want {
					t.Fatalf("seed %d: got event %d, want %d", seed, got, want)
				}
				want++
			}
			if want != next {
				t.Fatalf("seed %d: events from %d to %d are missing", seed, want, next-1)
			}
		}
	}
}

func BenchmarkEvents_Changed(b *testing.B) {
	for _, readers := range []int{0, 100} {
		b.Run(fmt.Sprintf("%d readers", readers), func(b *testing.B) {
			e := NewEvents()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for range readers {
				go func() {
					for reader := e.reader(""); reader.next(ctx) != nil; {
					}
				}()
			}
			c := history.Change{Instances: slices.Repeat([]string{"web: +node-1 192.0.2.7:31000"}, 100)}
			for b.Loop() {
				e.Changed("p", c)
			}
		})
	}
}
