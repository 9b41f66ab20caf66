package daemon

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

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
