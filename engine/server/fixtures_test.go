package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var update = flag.Bool("update", false, "rewrite the reasons of the fixtures")

// templateMistake is an error in a template, with its position.
type templateMistake struct{ error }

func (templateMistake) Position() (file string, line, column int) {
	return "/etc/haproxy-api/haproxy.tmpl", 31, 14
}

// The tests and the screenshots of the status page show the reasons that the daemon gives. -update writes them.
func TestReasons_OfTheFixtures(t *testing.T) {
	const path = "../../test/ui/reasons.json"
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	haproxy := engine.PipelineHealth{PipelineStatus: engine.PipelineStatus{
		Name: "haproxy", Source: "sidecar", Generation: 47,
		TemplateError: templateMistake{errors.New(
			`/etc/haproxy-api/haproxy.tmpl:31:14: function "getPort" not defined; did you mean "getPorts"?`)},
		Held: &engine.Held{Reason: "9 of 12 live instances are gone, more than max_drop allows", Until: day},
		Excluded: []exclude.Exclusion{{Service: "orders", ID: "orders-1", Hostname: "node-9",
			Reason: "/etc/haproxy/haproxy.cfg:52 (/etc/haproxy-api/haproxy.tmpl:84): 'server node-9-31002': could not resolve " +
				"address 'node-9'"}},
		Quarantined: make([]engine.Quarantined, 14),
	}}
	haproxy.Quarantined[0] = engine.Quarantined{Service: "web", ID: "web-7", Hostname: "node-7",
		Reason: "Image contains a line break"}
	batch := engine.PipelineHealth{
		PipelineStatus: engine.PipelineStatus{Name: "batch", Source: "batch", Generation: 47, StaleSince: day},
		Health:         sdk.Health{Facts: map[string]string{"haproxy_up": "0"}}, SinkProblems: []string{"HAProxy is not running"},
	}
	first := engine.PipelineHealth{
		PipelineStatus: engine.PipelineStatus{Name: "haproxy", Source: "sidecar"},
		Health:         batch.Health, SinkProblems: []string{"HAProxy is not running", "no document has been applied yet"},
	}
	config := Configuration{File: "/etc/haproxy-api.toml",
		Error: "/etc/haproxy-api.toml: haproxy.relaod_interval is not a known key; did you mean haproxy.reload_interval?"}
	denied := engine.SourceStatus{
		Instances: map[string]int{"Alive": 3}, Health: sdk.Health{Problems: []string{"open /srv/batch.json: permission denied"}},
	}
	reasons := map[string][]Reason{}
	_, reasons["haproxy"] = pipelineState(haproxy, engine.SourceStatus{})
	_, reasons["batch"] = pipelineState(batch, denied)
	_, reasons["first"] = pipelineState(first, engine.SourceStatus{})
	_, reasons["daemon"] = daemonState(config, "", nil)
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(reasons); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, content.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(kept, content.Bytes()) {
		t.Errorf("%s has other reasons than the daemon gives, %v: go test -run Fixtures ./engine/server -update", path, err)
	}
}
