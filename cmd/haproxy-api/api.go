package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// api is the running daemon as other commands see it: over HTTP, at the address in its configuration.
type api struct{ address string }

// apiOf returns the daemon that runs with cfg, as a program on this machine reaches it.
func apiOf(cfg *config.Config) api {
	host := cfg.API.BindIP
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return api{net.JoinHostPort(host, strconv.Itoa(cfg.API.BindPort))}
}

// pipelines returns how the daemon's pipelines are.
func (a api) pipelines(ctx context.Context) ([]server.Pipeline, error) {
	body, err := a.get(ctx, "/api/v1/pipelines")
	if err != nil {
		return nil, err
	}
	var pipelines []server.Pipeline
	if err := json.Unmarshal(body, &pipelines); err != nil {
		return nil, a.stranger(err)
	}
	return pipelines, nil
}

// state returns the newest state that the daemon has, as one of the named source.
func (a api) state(ctx context.Context, source string) (sdk.Snapshot, error) {
	body, err := a.get(ctx, "/state")
	if err != nil {
		return sdk.Snapshot{}, err
	}
	snap, err := sidecar.DecodeState(body, source)
	if err != nil {
		return sdk.Snapshot{}, a.stranger(err)
	}
	return snap, nil
}

func (a api) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no daemon answers at %s: start it, or name its configuration with -f: %w", a.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, sidecar.MaxState))
	if err != nil {
		return nil, fmt.Errorf("the daemon at %s breaks off in the middle of its answer: try again: %w", a.address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, a.refusal(resp.Status, body)
	}
	return body, nil
}

// refusal puts an answer that is an error into the daemon's own words.
func (a api) refusal(status string, body []byte) error {
	var answer struct{ Errors []string }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return a.stranger(fmt.Errorf("it answers %s", status))
	}
	return fmt.Errorf("the daemon at %s says: %s", a.address, strings.Join(answer.Errors, "; "))
}

func (a api) stranger(err error) error {
	return fmt.Errorf("what answers at %s is no haproxy-api: free its address, or name another with -f: %w", a.address, err)
}
