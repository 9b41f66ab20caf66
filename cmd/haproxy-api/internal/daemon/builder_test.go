package daemon

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestBuild_KeepsComponents(t *testing.T) {
	file := config.Component{Type: typeFile, Block: map[string]any{"path": filepath.Join(t.TempDir(), "file")}}
	unknown := config.Component{Type: "unknown"} // cannot be opened
	b := builder{log: slog.New(slog.DiscardHandler), cfg: &config.Config{
		Sources: map[string]config.Source{"kept": {Component: unknown}, "new": {Component: file}},
		Sinks:   map[string]config.Component{"kept": unknown, "new": file},
	}}
	source, sink := struct{ sdk.Source }{}, struct{ sdk.Sink }{}
	kept := &components{sources: map[string]sdk.Source{"kept": &source}, sinks: map[string]sdk.Sink{"kept": &sink}}
	built, err := b.build(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	defer built.close()
	if len(built.sources) != 2 || built.sources["kept"] != &source || built.sources["new"] == nil {
		t.Errorf("sources %v", built.sources)
	}
	if len(built.sinks) != 2 || built.sinks["kept"] != &sink || built.sinks["new"] == nil {
		t.Errorf("sinks %v", built.sinks)
	}
}

func TestOpenAll_InParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := map[string]int{"a": 1, "b": 2, "c": 3, "kept": 4}
		kept := map[string]int{"kept": 40}
		var all sync.WaitGroup
		all.Add(3)
		opened, err := openAll(table, kept, func(_ string, n int) (int, error) {
			all.Done()
			all.Wait() // blocks for ever if one is opened after the other
			return 10 * n, nil
		})
		if err != nil || len(opened) != 3 || opened["b"] != 20 {
			t.Errorf("got %v, %v", opened, err)
		}
	})
}

// A countingCloser counts its Close calls.
type countingCloser struct{ n *int }

func (c countingCloser) Close() error { *c.n++; return nil }

func TestOpenAll_ClosesWhatItOpenedIfOneFails(t *testing.T) {
	var a, old int
	kept := map[string]countingCloser{"old": {&old}}
	table := map[string]int{"a": 0, "b": 1, "c": 2, "old": 3}
	bErr, cErr := errors.New("b"), errors.New("c")
	_, err := openAll(table, kept, func(name string, _ int) (countingCloser, error) {
		switch name {
		case "a":
			return countingCloser{&a}, nil
		case "b":
			return countingCloser{}, bErr
		}
		return countingCloser{}, cErr
	})
	if !errors.Is(err, bErr) || !errors.Is(err, cErr) {
		t.Errorf("got %v", err)
	}
	if a != 1 || old != 0 {
		t.Errorf("closed a %d times, the kept one %d times", a, old)
	}
}
