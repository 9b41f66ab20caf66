// Package faultlog logs faults that go on: once when a fault begins, once when its error changes, and once when it is over.
// A check that is repeated every second therefore does not fill the log, and every fault in the log has its end there.
package faultlog

import (
	"context"
	"log/slog"
	"sync"
)

// A Fault is one thing that can go wrong for a while, such as reading a certain file. The zero value is a fault that is not
// there. It is safe for concurrent use and must not be copied.
type Fault struct {
	mu    sync.Mutex
	cause string // empty while the fault is not there
}

// Warn logs message at level warn with args and the error, unless the fault is there already with the same error. It reports
// whether it logged. err must not be nil.
func (f *Fault) Warn(log *slog.Logger, message string, err error, args ...any) bool {
	return f.begin(log, slog.LevelWarn, message, err, args)
}

// Error is [Fault.Warn] at level error.
func (f *Fault) Error(log *slog.Logger, message string, err error, args ...any) bool {
	return f.begin(log, slog.LevelError, message, err, args)
}

func (f *Fault) begin(log *slog.Logger, level slog.Level, message string, err error, args []any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == err.Error() {
		return false
	}
	f.cause = err.Error()
	log.With(args...).Log(context.Background(), level, message, "error", err)
	return true
}

// Over ends the fault: where it was there, message is logged at level info with args. It reports whether the fault was there.
func (f *Fault) Over(log *slog.Logger, message string, args ...any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == "" {
		return false
	}
	f.cause = ""
	log.Info(message, args...)
	return true
}

// Cause returns the text of the error that was logged last, and "" while the fault is not there.
func (f *Fault) Cause() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}
