// Package sdktest checks in a Go test whether a plugin conforms to the contract of package sdk. It runs the plugin's program
// as the daemon does, so the language of the plugin does not matter.
//
//	func TestConformance(t *testing.T) {
//		sdktest.TestSink(t, sdktest.Sink{
//			Program: sdktest.Program{Path: buildPlugin(t), Block: sdk.Block{"directory": t.TempDir()}},
//			Good:    [2]string{"first", "second"},
//			Bad:     "a document that the sink must reject",
//		})
//	}
//
// The command "haproxy-api plugin doctor PATH" makes the same checks.
package sdktest

import (
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/conformance"
)

type (
	// A Program is the plugin to check.
	Program = conformance.Program
	// A Sink is a sink plugin and the documents to check it with.
	Sink = conformance.Sink
	// A Source is a source plugin to check.
	Source = conformance.Source
)

// TestSink makes every check of a sink plugin as a subtest. It starts the plugin several times and applies documents, so
// what the sink manages must not be in use.
func TestSink(t *testing.T, s Sink) {
	conformance.CheckSink(t.Context(), s, asSubtests(t))
}

// TestSource makes every check of a source plugin as a subtest.
func TestSource(t *testing.T, s Source) {
	conformance.CheckSource(t.Context(), s, asSubtests(t))
}

func asSubtests(t *testing.T) func(conformance.Finding) {
	return func(f conformance.Finding) {
		t.Run(f.Check, func(t *testing.T) {
			if f.Err != nil {
				t.Error(f.Err)
			}
			if f.Skipped != "" {
				t.Log("skipped: " + f.Skipped)
			}
		})
	}
}
