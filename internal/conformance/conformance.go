// Package sdktest shows whether a plugin keeps the contract of plugins/sdk. It runs the plugin's program as the daemon does,
// so the language it is written in does not matter.
//
// In a test of the plugin's own:
//
//	func TestConformance(t *testing.T) {
//		sdktest.TestSink(t, sdktest.Sink{
//			Program: sdktest.Program{Path: buildPlugin(t), Block: sdk.Block{"folder": t.TempDir()}},
//			Good:    [2]string{"first", "second"},
//			Bad:     "what it must refuse",
//		})
//	}
//
// The same checks run from the command line: haproxy-api plugin doctor PATH.
package sdktest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// answerWithin bounds a call that should be answered at once.
	answerWithin = 5 * time.Second
	// applyWithin bounds a document's way into effect.
	applyWithin = 2 * time.Minute
	// endWithin bounds the end of a program that was told to end, or lost its daemon.
	endWithin = 5 * time.Second
)

// A Program is the plugin to look at.
type Program struct {
	Path  string
	Args  []string
	Env   []string  // added to the environment, as "NAME=value"
	Block sdk.Block // a configuration that the plugin accepts
	Log   *slog.Logger

	patience time.Duration // for a document or a snapshot on its way; zero for the usual one
}

// within bounds what may take as long as a document takes into effect.
func (p Program) within(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := p.patience
	if patience == 0 {
		patience = applyWithin
	}
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing came within %s", patience))
}

func (p Program) options(block sdk.Block) host.Options {
	log := p.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// The race detector keeps a Go program for a second at its end, which here would pass for a program that lingers.
	env := slices.Concat([]string{"GORACE=atexit_sleep_ms=0"}, p.Env)
	return host.Options{Name: "sdktest", Path: p.Path, Args: p.Args, Env: env, Block: block, Log: log}
}

// A Finding is the outcome of one check.
type Finding struct {
	Check   string // what the plugin should do, such as "rejects what it cannot use"
	Err     error  // nil when it does
	Skipped string // why it was not looked at; empty when it was
}

// String is one line for a person.
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
	run  func(T, context.Context) error // the shape of a method expression
}

// skip says why a check was not looked at.
type skip string

func (s skip) Error() string { return string(s) }

// perform runs the checks in order, reports each, and stops after the first one if that fails: a plugin that does not even
// start cannot be looked at. It returns whether none failed.
func perform[T any](ctx context.Context, subject T, checks []check[T], report func(Finding)) bool {
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

// asTests reports every finding as a subtest.
func asTests(t *testing.T) func(Finding) {
	return func(f Finding) {
		t.Run(f.Check, func(t *testing.T) {
			if f.Err != nil {
				t.Error(f.Err)
			}
			if f.Skipped != "" {
				t.Log("not looked at: " + f.Skipped)
			}
		})
	}
}

// refusesUnknownKeys starts the plugin with a key that it cannot know.
func refusesUnknownKeys(ctx context.Context, start func(context.Context, sdk.Block) error, block sdk.Block) error {
	const key = "no_plugin_has_this_key"
	wrong := sdk.Block{key: true}
	for k, v := range block {
		wrong[k] = v
	}
	err := start(ctx, wrong)
	if err == nil {
		return fmt.Errorf("it accepted the key %s: an unknown key must be a fault, or people's typing errors go unseen", key)
	}
	if _, ok := errors.AsType[sdk.Faults](err); !ok {
		return fmt.Errorf("it did not answer with faults but with: %w", err)
	}
	if !strings.Contains(err.Error(), key) {
		return fmt.Errorf("its fault does not name the key %s: %w", key, err)
	}
	return nil
}

// hasName is about what Configure answers.
func hasName(info sdk.Info) error {
	if info.Name == "" || info.Version == "" {
		return fmt.Errorf("its answer to Configure lacks name or version: %+v", info)
	}
	return nil
}
