package main

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestASlowPartHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		components := map[string]int{"a": 1, "b": 2, "c": 3, "standing": 4}
		standing := map[string]int{"standing": 40}
		var all sync.WaitGroup
		all.Add(3)
		opened, err := openAll(components, standing, func(_ string, n int) (int, error) {
			all.Done()
			all.Wait() // for ever, if one is opened after the other
			return 10 * n, nil
		})
		if err != nil || len(opened) != 4 || opened["b"] != 20 || opened["standing"] != 40 {
			t.Errorf("got %v, %v", opened, err)
		}
	})
}

// closed is a part that notes its end.
type closed struct{ n *int }

func (c closed) Close() error { *c.n++; return nil }

func TestNothingIsLeftOpenWhereOneFails(t *testing.T) {
	var a, old int
	standing := map[string]closed{"old": {&old}}
	_, err := openAll(map[string]int{"a": 0, "b": 1, "c": 2, "old": 3}, standing, func(name string, _ int) (closed, error) {
		if name == "a" {
			return closed{&a}, nil
		}
		return closed{}, errors.New(name + " is wrong")
	})
	if err == nil || err.Error() != "b is wrong\nc is wrong" {
		t.Errorf("got %v", err)
	}
	if a != 1 || old != 0 {
		t.Errorf("closed a %d times, what stood %d times", a, old)
	}
}
