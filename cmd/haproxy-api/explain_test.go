package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// The last reload is explained by its summary when the history no longer has its entry. Any other change is then an error.
func TestFindChange_NoLongerKept(t *testing.T) {
	reload := history.Change{Generation: 7, Action: "reload", Reason: "a new bind"}
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/pipelines" {
			_ = json.NewEncoder(w).Encode([]server.Pipeline{{Name: "haproxy", LastReload: &reload}})
			return
		}
		w.WriteHeader(http.StatusGone)
		_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {"no longer kept"}})
	}))
	t.Cleanup(daemon.Close)
	client, err := apiclient.NewAt(daemon.URL, &config.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := findChange(t.Context(), client, explainOptions{reload: true})
	if err != nil || found.Pipeline != "haproxy" || found.Generation != 7 || found.Reason != reload.Reason {
		t.Errorf("got %+v, %v", found, err)
	}
	if _, err := findChange(t.Context(), client, explainOptions{generation: 7}); !apiclient.IsGone(err) {
		t.Errorf("got %v for a change that is no longer kept", err)
	}
}
