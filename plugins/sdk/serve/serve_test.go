package serve

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestSinkPanics_ConfigurationCannotBeDecoded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it serves")
		}
	}()
	Sink[map[string]any](sdk.Info{}, nil, nil)
}

// Each error that the author joins is a fault of its own.
func TestFaultsOf(t *testing.T) {
	first, second := sdk.Rejectf("one is wrong"), sdk.Rejectf("two is wrong")
	for name, test := range map[string]struct {
		err  error
		want sdk.Faults
	}{
		"none":      {nil, nil},
		"temporary": {errors.New("the backend is down"), nil},
		"rejection": {first, sdk.Faults{{Problem: "one is wrong"}}},
		"wrapped":   {fmt.Errorf("opening: %w", first), sdk.Faults{{Problem: "opening: one is wrong"}}},
		"joined":    {errors.Join(first, second), sdk.Faults{{Problem: "one is wrong"}, {Problem: "two is wrong"}}},
		"nested": {
			errors.Join(first, errors.Join(second, errors.New("three"))),
			sdk.Faults{{Problem: "one is wrong"}, {Problem: "two is wrong"}, {Problem: "three"}},
		},
		"faults": {sdk.Faults{{Key: "a", Problem: "is wrong"}}, sdk.Faults{{Key: "a", Problem: "is wrong"}}},
	} {
		if diff := cmp.Diff(test.want, faultsOf(test.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPutEvent_DropsTheOldest(t *testing.T) {
	p := newPluginServer(t.Context(), sdk.Info{}, 0, nil)
	for i := range 3 * maxEvents {
		p.putEvent(sdk.Event{Generation: uint64(i)})
	}
	first := <-p.events
	if first.Generation != 2*maxEvents || first.Time.IsZero() || len(p.events) != maxEvents-1 {
		t.Errorf("the oldest is %d at %v, and %d more wait", first.Generation, first.Time, len(p.events))
	}
}
