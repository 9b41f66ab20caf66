package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// fetchWithin bounds the time that a state may take to come over HTTP.
const fetchWithin = 10 * time.Second

// A namedState is a state with where it comes from.
type namedState struct {
	name     string
	snapshot sdk.Snapshot
	source   string // the only source of which it tells; empty where it is taken for any

	quarantined []engine.Quarantined // whom the snapshot lacks
}

// admit treats a state as the daemon treats what a source tells it.
func admit(name string, snap sdk.Snapshot) namedState {
	snap, quarantined := engine.Quarantine(snap)
	return namedState{name: name, snapshot: snap, quarantined: quarantined}
}

// tell says who is quarantined.
func (s namedState) tell(cmd *cobra.Command) {
	for _, q := range s.quarantined {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s: quarantined, and not rendered: %s: %s\n", s.name,
			nameQuarantined(q.Service, q.ID, q.Hostname), q.Reason)
	}
}

// nameQuarantined names an instance, or a service without any; each part is safe to show as it is.
func nameQuarantined(service, id, hostname string) string {
	switch {
	case id != "" || hostname != "":
		return fmt.Sprintf("instance %s of service %s on %s", orNone(id), orNone(service), orNone(hostname))
	case service != "":
		return "service " + service
	}
	return "the catalogue"
}

func orNone(name string) string { return cmp.Or(name, "(none)") }

// as returns the state as if it came from the named source, which is what a template sees of a daemon's.
func (s namedState) as(source string) sdk.Snapshot {
	snap := s.snapshot
	snap.Source = source
	return snap
}

// readState reads a catalogue from a file, from a URL, or from stdin for "-". It is told apart by its content: a Sidecar's
// state in any of its encodings, or a plain list of instances.
func readState(ctx context.Context, location string, stdin io.Reader) (namedState, error) {
	switch {
	case location == "-":
		content, err := io.ReadAll(stdin)
		if err != nil {
			return namedState{}, fmt.Errorf("cannot read the state from standard input: %w", err)
		}
		return decodeState("standard input", content)
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		snap, err := sidecar.FetchState(ctx, &http.Client{Timeout: fetchWithin}, location, "")
		return admit(redacted(location), snap), err
	}
	content, err := os.ReadFile(location)
	if err != nil {
		return namedState{}, fmt.Errorf("cannot read the state: %w", err)
	}
	return decodeState(location, content)
}

func decodeState(name string, content []byte) (namedState, error) {
	snap, err := filesource.Decode(name, content, "")
	return admit(name, snap), err
}

// readStates reads each of the locations, of which one may be a folder: that stands for every *.json in it. It returns those
// that can be read and a fault for each that cannot.
func readStates(ctx context.Context, locations []string, stdin io.Reader) (states []namedState, faults []error) {
	for _, location := range locations {
		files, err := statesAt(location)
		if err != nil {
			faults = append(faults, err)
		}
		for _, file := range files {
			state, err := readState(ctx, file, stdin)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			states = append(states, state)
		}
	}
	return states, faults
}

func statesAt(location string) ([]string, error) {
	if info, err := os.Stat(location); err != nil || !info.IsDir() {
		return []string{location}, nil
	}
	entries, err := os.ReadDir(location) // sorted
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of states: %w", err)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) == ".json" && !strings.HasPrefix(name, ".") { // editors hide their own beside them
			files = append(files, filepath.Join(location, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no state in the folder %s: it should have files whose names end with .json", location)
	}
	return files, nil
}

// liveState asks the daemon, which runs with cfg, for its newest state.
func liveState(ctx context.Context, daemon api, cfg *config.Config) (namedState, error) {
	source := frontName(cfg.Sources, func(c config.Source) bool { return c.Type == "sidecar-push" })
	snap, err := daemon.state(ctx, source)
	state := admit("the state of the daemon at "+daemon.address, snap)
	state.source = source
	return state, err
}

// tellsOf returns an error where a pipeline has another source than the one that the state is of.
func (s namedState) tellsOf(p config.Pipeline) error {
	if s.source == "" || s.source == p.Source {
		return nil
	}
	return fmt.Errorf("%s is that of its source %s only, and this pipeline's source is %s: name a state with --state",
		s.name, s.source, p.Source)
}

// redacted leaves out what may be secret in a URL.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL"
	}
	return sidecar.Redacted(u)
}
