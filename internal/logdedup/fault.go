package logdedup

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Fault is one thing that can go wrong for a while, such as reading a certain file. It logs when the fault begins, when its
// error changes, each hour, and when it is over, so that a check that is repeated every second does not fill the log. The zero
// value is a fault that is not present. It is safe for concurrent use and must not be copied.
type Fault struct {
	mu     sync.Mutex
	cause  string    // empty while the fault is not present
	logged time.Time // when cause was logged
}

// Warn logs message at level warn with args and the error, unless the fault was logged with the same error within the hour. It
// reports whether it logged. err must not be nil.
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
	// A Handler drops what is repeated within repeatAfter.
	if now := time.Now(); f.cause != err.Error() || now.Sub(f.logged) > repeatAfter+time.Second {
		f.cause, f.logged = err.Error(), now
	} else {
		return false
	}
	log.With(args...).Log(context.Background(), level, message, "error", err)
	return true
}

// Resolve ends the fault. If it was present, Resolve logs message at level info with args. It reports whether the fault was
// present.
func (f *Fault) Resolve(log *slog.Logger, message string, args ...any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == "" {
		return false
	}
	f.cause = ""
	log.Info(message, args...)
	return true
}

// Cause returns the text of the error that was logged last, or "" while the fault is not present.
func (f *Fault) Cause() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// Faults are faults of the same kind by key, such as the address of a client, so that none of them mutes another. The zero value
// has no fault that is present. It is safe for concurrent use and must not be copied.
type Faults struct {
	mu    sync.Mutex
	byKey map[string]*Fault
}

// At returns the fault with that key. Beyond [MaxKeys], all further keys share one fault, because clients can choose keys.
func (f *Faults) At(key string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey == nil {
		f.byKey = map[string]*Fault{}
	}
	if len(f.byKey) >= MaxKeys && f.byKey[key] == nil {
		key = ""
	}
	if f.byKey[key] == nil {
		f.byKey[key] = &Fault{}
	}
	return f.byKey[key]
}
