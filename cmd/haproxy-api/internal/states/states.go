// Package states reads the states that subcommands render: from files, directories, URLs and standard input. It processes them as
// the daemon processes what a source emits.
package states

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

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// fetchTimeout bounds fetching a state over HTTP.
const fetchTimeout = 10 * time.Second

// A State is a snapshot with the name of the place that it was read from.
type State struct {
	Name     string
	snapshot sdk.Snapshot
	source   string // the source that the state belongs to; empty if it can stand for any source

	quarantined []engine.Quarantined
}

// New returns the state of a snapshot, without the instances that the daemon would quarantine. Source is the source that the
// snapshot belongs to, or empty if the snapshot can stand for any source.
func New(name, source string, snap sdk.Snapshot) State {
	snap, quarantined := engine.Quarantine(snap)
	return State{Name: name, snapshot: snap, source: source, quarantined: quarantined}
}

// PrintQuarantined writes a note to w for each quarantined instance.
func (s State) PrintQuarantined(w io.Writer) {
	for _, q := range s.quarantined {
		fmt.Fprintf(w, "note: %s: quarantined, and not rendered: %s: %s\n", s.Name,
			describeInstance(q.Service, q.ID, q.Hostname), q.Reason)
	}
}

// describeInstance names an instance, or a service if id and hostname are empty. The arguments must be printable.
func describeInstance(service, id, hostname string) string {
	switch {
	case id != "" || hostname != "":
		return fmt.Sprintf("instance %s of service %s on %s", orNone(id), orNone(service), orNone(hostname))
	case service != "":
		return "service " + service
	}
	return "the catalogue"
}

func orNone(name string) string { return cmp.Or(name, "(none)") }

// As returns the snapshot as if the named source had emitted it.
func (s State) As(source string) sdk.Snapshot {
	snap := s.snapshot
	snap.Source = source
	return snap
}

// CheckSource returns an error if the state belongs to another source than the pipeline's.
func (s State) CheckSource(p config.Pipeline) error {
	if s.source == "" || s.source == p.Source {
		return nil
	}
	return fmt.Errorf("%s belongs to source %s, and the source of this pipeline is %s: name a state with --state",
		s.Name, s.source, p.Source)
}

// Read reads a state from a file, from a URL, or from stdin if location is "-". The content decides how it is decoded: as a
// Sidecar state in any of its encodings, or as a list of instances.
func Read(ctx context.Context, location string, stdin io.Reader) (State, error) {
	switch {
	case location == "-":
		content, err := io.ReadAll(stdin)
		if err != nil {
			return State{}, fmt.Errorf("cannot read the state from standard input: %w", err)
		}
		return decode("standard input", content)
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		snap, err := sidecar.FetchState(ctx, &http.Client{Timeout: fetchTimeout}, location, "")
		return New(redacted(location), "", snap), err
	}
	content, err := os.ReadFile(location)
	if err != nil {
		return State{}, fmt.Errorf("cannot read the state: %w", err)
	}
	return decode(location, content)
}

func decode(name string, content []byte) (State, error) {
	snap, err := filesource.Decode(name, content, "")
	return New(name, "", snap), err
}

// ReadAll reads a state from each location. A location that is a directory stands for every *.json in it. ReadAll returns the
// states that it could read and an error for each other one.
func ReadAll(ctx context.Context, locations []string, stdin io.Reader) (all []State, faults []error) {
	for _, location := range locations {
		files, err := filesAt(location)
		if err != nil {
			faults = append(faults, err)
		}
		for _, file := range files {
			state, err := Read(ctx, file, stdin)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			all = append(all, state)
		}
	}
	return all, faults
}

func filesAt(location string) ([]string, error) {
	if info, err := os.Stat(location); err != nil || !info.IsDir() {
		return []string{location}, nil
	}
	entries, err := os.ReadDir(location)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory of states: %w", err)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) == ".json" && !strings.HasPrefix(name, ".") { // editors write hidden files beside their own
			files = append(files, filepath.Join(location, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no state in the directory %s: it should have files whose names end with .json", location)
	}
	return files, nil
}

// redacted returns a URL without user, password and query, which may be secret.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL"
	}
	return sidecar.Redacted(u)
}
