// Package conformance checks whether a plugin conforms to the contract of package sdk. It runs the plugin's program as the
// daemon does, so the language of the plugin does not matter. It does not know package testing: plugins/sdk/sdktest runs the
// checks in tests, and the command "plugin doctor" on the command line.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// answerTimeout bounds a call that should return at once.
	answerTimeout = 5 * time.Second
	// applyTimeout bounds how long a plugin may take to apply a document or to emit a snapshot.
	applyTimeout = 2 * time.Minute
	// problemTimeout bounds how long a source may report problems instead of emitting a snapshot.
	problemTimeout = 15 * time.Second
	// healthInterval is how often a source is asked for its problems meanwhile.
	healthInterval = time.Second
	// endTimeout bounds how long a program may take to end after Stop, or after its daemon has ended.
	endTimeout = 5 * time.Second
)

// A Program is the plugin to check.
type Program struct {
	Path  string
	Args  []string
	Env   []string     // added to the environment, as "NAME=value"
	Block sdk.Block    // a configuration that the plugin accepts
	Log   *slog.Logger // of the plugin; nil for none

	timeout time.Duration // bounds every timeout; zero for the constants
}

// bounded returns timeout, or the smaller one of the program.
func (p Program) bounded(timeout time.Duration) time.Duration {
	if p.timeout > 0 {
		return min(p.timeout, timeout)
	}
	return timeout
}

// withTimeout returns ctx with a deadline for a response of the plugin.
func (p Program) withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	timeout = p.bounded(timeout)
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("there was no response within %s", timeout))
}

func (p Program) options(block sdk.Block) host.Options {
	// The race detector keeps a Go program for a second at its end, which looks like a program that does not end.
	env := slices.Concat([]string{"GORACE=atexit_sleep_ms=0"}, p.Env)
	return host.Options{
		Name: "conformance", Path: p.Path, Args: p.Args, Env: env, Block: block,
		Log: cmp.Or(p.Log, slog.New(slog.DiscardHandler)),
	}
}

// A Finding is the result of one check.
type Finding struct {
	Check   string // what the plugin should do, such as "rejects a bad document"
	Err     error  // nil if it does
	Skipped string // why the check was not made; empty if it was
}

// String returns the finding as one line.
func (f Finding) String() string {
	switch {
	case f.Skipped != "":
		return "skip  " + f.Check + ": " + f.Skipped
	case f.Err != nil:
		return "FAIL  " + f.Check + ": " + f.Err.Error()
	default:
		return "ok    " + f.Check
	}
}

// check is one thing that a plugin should do.
type check[T any] struct {
	name string
	run  func(T, context.Context) error // the type of a method expression
}

// skip is the error of a check that cannot be made, and says why.
type skip string

func (s skip) Error() string { return string(s) }

// run makes the checks one after the other and reports each. It stops if the first one, which starts the plugin, fails. It
// reports whether all passed.
func run[T any](ctx context.Context, subject T, checks []check[T], report func(Finding)) bool {
	passed := true
	for i, c := range checks {
		err := c.run(subject, ctx)
		finding := Finding{Check: c.name, Err: err}
		if reason, ok := errors.AsType[skip](err); ok {
			finding.Err, finding.Skipped = nil, string(reason)
		}
		report(finding)
		passed = passed && finding.Err == nil
		if ctx.Err() != nil || finding.Err != nil && i == 0 {
			return false
		}
	}
	return passed
}

// checkUnknownKey starts the plugin with a key that no plugin knows.
func checkUnknownKey(ctx context.Context, start func(context.Context, sdk.Block) error, block sdk.Block) error {
	const key = "no_plugin_has_this_key"
	wrong := sdk.Block{key: true}
	maps.Copy(wrong, block)
	err := start(ctx, wrong)
	if err == nil {
		return fmt.Errorf("it accepted the key %s: an unknown key must be a fault, or users do not notice misspelled keys", key)
	}
	if _, ok := errors.AsType[sdk.Faults](err); !ok {
		return fmt.Errorf("its error is not a fault of the configuration: %w", err)
	}
	if !strings.Contains(err.Error(), key) {
		return fmt.Errorf("its fault does not name the key %s: %w", key, err)
	}
	return nil
}

func checkInfo(info sdk.Info) error {
	if info.Name == "" || info.Version == "" {
		return fmt.Errorf("its response to Configure lacks name or version: %+v", info)
	}
	return nil
}
