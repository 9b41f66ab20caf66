package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// fill records an observation of every metric of pipeline "p", source "s" and sink "k".
func fill(m *Metrics) {
	web := sdk.Instance{Name: "web", Status: 57}
	gone := sdk.Instance{Name: "web", Status: sdk.Tombstone}
	m.SnapshotReceived(sdk.Snapshot{Source: "s", Services: sdk.GroupByName([]sdk.Instance{web, gone})}, false)
	m.SnapshotReceived(sdk.Snapshot{Source: "s"}, true)
	m.Quarantined("s", 1)
	m.Held("p", true)
	m.Rendered("p", 1, fmt.Errorf("no"))
	for _, trigger := range []string{history.TriggerPush, history.TriggerRetry} {
		m.Applied(engine.Entry{Pipeline: "p", Generation: 1, Trigger: history.Trigger{Kind: trigger}, Result: sdk.Result{Action: sdk.ActionReload}})
	}
	m.PluginRestarted("k")
	m.PluginRestarted("s")
}

func TestMetrics_ForgetRemovesAllLabels(t *testing.T) {
	m := NewMetrics("v1")
	fill(m)
	for kind, name := range map[string]string{"pipeline": "p", "sink": "k", "source": "s"} {
		if label := fmt.Sprintf("=%q", name); !strings.Contains(scrape(m), label) {
			t.Fatalf("no metrics of %s %s", kind, name)
		}
	}
	for kind, name := range map[string]string{"pipeline": "p", "sink": "k", "source": "s"} {
		m.Forget(kind, name)
		if label := fmt.Sprintf("=%q", name); strings.Contains(scrape(m), label) {
			t.Errorf("metrics of the %s remain:\n%s", kind, scrape(m))
		}
	}
}

func TestMetrics_UnknownActionsShareOneLabel(t *testing.T) {
	m := NewMetrics("v1")
	for n := range 1000 {
		m.Applied(engine.Entry{Pipeline: "p", Result: sdk.Result{Action: fmt.Sprint("invented ", n)}})
	}
	got := scrape(m)
	const want = `haproxy_api_applies_total{action="other",outcome="done",pipeline="p"} 1000`
	if strings.Contains(got, "invented") || !strings.Contains(got, want) {
		t.Errorf("got\n%s", got)
	}
}

// An unknown status counts as a tombstone, as in templates.
func TestMetrics_UnknownStatusesCountAsTombstone(t *testing.T) {
	m := NewMetrics("v1")
	web := []sdk.Instance{{Name: "web", Status: 57}, {Name: "web", Status: 58}, {Name: "web", Status: sdk.Tombstone}}
	for range 20 { // maps have no order
		m.SnapshotReceived(sdk.Snapshot{Source: "s", Services: sdk.GroupByName(web)}, false)
		if got := scrape(m); !strings.Contains(got, `haproxy_api_instances{source="s",status="Tombstone"} 3`) {
			t.Fatalf("got\n%s", got)
		}
	}
}
