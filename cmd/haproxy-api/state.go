package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// fetchWithin bounds the time that a state may take to come over HTTP.
const fetchWithin = 10 * time.Second

// readState reads a catalogue from a file, from a URL, or from stdin for "-". It is told apart by its content: a Sidecar's
// state in any of its encodings, or a plain list of instances.
func readState(ctx context.Context, location string, stdin io.Reader) (sdk.Snapshot, error) {
	switch {
	case location == "-":
		content, err := io.ReadAll(stdin)
		if err != nil {
			return sdk.Snapshot{}, fmt.Errorf("cannot read the state from standard input: %w", err)
		}
		return filesource.Decode("standard input", content, "state")
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		return sidecar.FetchState(ctx, &http.Client{Timeout: fetchWithin}, location, "state")
	}
	content, err := os.ReadFile(location)
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("cannot read the state: %w", err)
	}
	return filesource.Decode(location, content, "state")
}
