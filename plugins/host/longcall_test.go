package host

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// longCalls are the calls that may take long.
var longCalls = map[string]func(*Sink, context.Context, sdk.Document) error{
	"Apply": func(s *Sink, ctx context.Context, doc sdk.Document) error {
		_, err := s.Apply(ctx, doc)
		return err
	},
	"Check": (*Sink).Check,
}

// startWithShortTimeouts starts notes whose health is requested every few milliseconds of a long call.
func startWithShortTimeouts(t *testing.T, within time.Duration) *Sink {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"directory": t.TempDir(), "checks": true},
		Log: slog.New(slog.DiscardHandler), slowCall: 10 * time.Millisecond,
		pingInterval: time.Hour, pingTimeout: within,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink
}

func TestLongCall_SlowPluginIsNotKilled(t *testing.T) {
	for name, call := range longCalls {
		t.Run(name, func(t *testing.T) {
			sink := startWithShortTimeouts(t, time.Minute)
			pid := sink.PID()
			if err := call(sink, t.Context(), document("slow")); err != nil {
				t.Error(err)
			}
			if now := sink.PID(); now != pid {
				t.Errorf("process %d became %d", pid, now)
			}
		})
	}
}

func TestLongCall_UnresponsivePluginIsKilled(t *testing.T) {
	for name, call := range longCalls {
		t.Run(name, func(t *testing.T) {
			sink := startWithShortTimeouts(t, 100*time.Millisecond)
			before := sink.PID()
			if err := call(sink, t.Context(), document("hang")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			<-sink.Restarted()
			if after := pidOf(t, sink); after == before { // another long call could seem to hang on a busy machine
				t.Errorf("still process %d", after)
			}
		})
	}
}
