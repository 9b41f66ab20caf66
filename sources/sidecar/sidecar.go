// Package sidecar contains the sources for a Sidecar: [Push] receives the pushes of Sidecar's listener mechanism, and [Follow]
// keeps a watch open.
//
// Both order states by their arrival. They cannot use Sidecar's LastChanged: concurrent changes have the same time, and it comes
// from the clock of the host that sent the change, so that it may run backwards. Both also fetch the whole state from time to
// time, because a Sidecar loses changes: it retries a push with an empty body, and drops what does not fit its buffers.
//
// The package knows neither pipelines nor templates and sinks.
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

// MaxState is the default maximum length of a state in bytes. The state of 10,000 instances has about 4 MB.
const MaxState = 64 << 20

// DecodeState decodes a catalogue in any of Sidecar's encodings: a state, a state changed event, a services document or a
// by-service object. source becomes the snapshot's [sdk.Snapshot.Source], and Taken the present time.
func DecodeState(content []byte, source string) (sdk.Snapshot, error) {
	snap, err := catalog.Decode(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	return stamp(snap, source), nil
}

// EncodeState writes s as a Sidecar encodes its state. Equal snapshots have equal encodings, and [DecodeState] returns the
// same instances. The error is that of w, or about a time that cannot be encoded.
func EncodeState(w io.Writer, s sdk.Snapshot) error { return catalog.EncodeState(w, s) }

// stamp sets the source of snap, and its time to now.
func stamp(snap sdk.Snapshot, source string) sdk.Snapshot {
	snap.Source, snap.Taken = source, time.Now()
	return snap
}

// subscribed returns snap with the services of these names only, or with all services if there are no names.
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
		// url.Error repeats the address with its password.
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

// Redacted returns u without what may be secret: user, password and query.
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
