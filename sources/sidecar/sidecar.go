// Package sidecar learns of services from a Sidecar, in one of two ways: [Push] is told by Sidecar's listener
// mechanism, [Follow] keeps a watch open.
//
// Both believe the order in which states arrive and nothing else. Sidecar's own LastChanged is no help: several changes
// that come together carry one time, and it is copied from whichever host's clock sent the change, so that it runs
// backwards as well. Both also ask for the whole state now and then, because a Sidecar loses what it has to say without
// notice: it tries a push again with an empty body, and drops what does not fit its buffers.
package sidecar

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// MaxState is the largest state that is read from a Sidecar, in bytes, where the configuration says nothing else. One
// of 10,000 instances has about 4 MB.
const MaxState = 64 << 20

// DecodeState reads a catalogue in any of Sidecar's encodings: a state, a state changed event, a services document or a
// by-service object. Source becomes the snapshot's [sdk.Snapshot.Source], and Taken the present time. The error says in
// one sentence what is wrong with content.
func DecodeState(content []byte, source string) (sdk.Snapshot, error) {
	snap, err := catalog.Decode(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	return taken(snap, source), nil
}

// EncodeState writes s as a Sidecar encodes its state: the same bytes for equal snapshots, and [DecodeState] reads the
// same instances from them. The error is w's, or names a time that cannot be encoded.
func EncodeState(w io.Writer, s sdk.Snapshot) error { return catalog.EncodeState(w, s) }

func taken(snap sdk.Snapshot, source string) sdk.Snapshot {
	snap.Source, snap.Taken = source, time.Now()
	return snap
}

// subscribed returns snap with nothing in it but the services of these names; no names mean all of them.
func subscribed(snap sdk.Snapshot, names []string) sdk.Snapshot {
	if len(names) == 0 {
		return snap
	}
	snap.Services = slices.DeleteFunc(slices.Clone(snap.Services), func(svc sdk.Service) bool {
		return !slices.Contains(names, svc.Name)
	})
	if snap.Last != nil && !slices.Contains(names, snap.Last.Instance.Name) {
		snap.Last = nil
	}
	return snap
}

// parseURL returns the http or https URL in address.
func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		// url.Error repeats the address, password and all.
		if wrong, ok := errors.AsType[*url.Error](err); ok {
			err = wrong.Err
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not a URL such as http://localhost:7777/state.json", Redacted(u))
	}
	return u, nil
}

// Redacted returns u for people to read, without what may be a secret: user, password and query.
func Redacted(u *url.URL) string {
	shown := *u
	shown.RawQuery, shown.ForceQuery = "", false
	if u.User != nil {
		shown.User = url.User("xxxxx") // as net/url masks passwords
	}
	return shown.String()
}

func logOf(env sdk.Env) *slog.Logger {
	if env.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return env.Log
}
