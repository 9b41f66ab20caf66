package daemon

import (
	"reflect"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestCompare(t *testing.T) {
	source := func(path string) config.Source {
		return config.Source{Component: config.Component{Type: typeFile, Block: map[string]any{"path": path}}}
	}
	sink := func(path string) config.Component {
		return config.Component{Type: typeFile, Block: map[string]any{"path": path}}
	}
	guarded := source("kept")
	guarded.Guard.MinInstances++
	before := &config.Config{
		Sources:   map[string]config.Source{"kept": source("kept"), "moved": source("a"), "gone": source("b")},
		Sinks:     map[string]config.Component{"kept": sink("c"), "moved": sink("d")},
		Pipelines: map[string]config.Pipeline{"kept": {Sink: "kept"}, "other": {Sink: "moved", Watch: []string{"*"}}},
	}
	next := &config.Config{
		Sources:   map[string]config.Source{"kept": guarded, "moved": source("z"), "new": source("b")},
		Sinks:     map[string]config.Component{"kept": sink("c"), "moved": sink("e")},
		Pipelines: map[string]config.Pipeline{"kept": {Sink: "kept"}, "other": {Sink: "moved", Watch: []string{"*"}, User: "u"}},
	}
	next.API.UpdateToken, next.API.BindPort, next.API.StateDir = "t", 1, "state"
	got := diffConfigs(before, next)
	want := diff{
		sources:   changes{added: []string{"moved", "new"}, removed: []string{"gone", "moved"}, kept: []string{"kept"}},
		sinks:     changes{added: []string{"moved"}, removed: []string{"moved"}, kept: []string{"kept"}},
		pipelines: changes{added: []string{"other"}, removed: []string{"other"}, kept: []string{"kept"}},
		templates: changes{added: []string{"other"}, removed: []string{"other"}, kept: []string{"kept"}},
		// The sink of the other pipeline writes another file.
		inputs:  changes{added: []string{"other"}, removed: []string{"other"}, kept: []string{"kept"}},
		guards:  []string{"kept"},
		address: true, access: true, needRestart: []string{"haproxy_api.state_dir"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if phrases := got.describe(next.API); len(phrases) != 8 {
		t.Errorf("phrases %q", phrases)
	}
	if same := diffConfigs(before, before); len(same.describe(before.API)) != 0 {
		t.Errorf("a configuration differs from itself: %+v", same)
	}
}
