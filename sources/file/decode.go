package file

import (
	"errors"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// Decode reads a catalogue in the formats that the package comment describes. The name decides between JSON and YAML, see
// [Config], and precedes the line in errors. source becomes the snapshot's [sdk.Snapshot.Source], and Taken the present time. The
// error joins all faults of a list.
func Decode(name string, content []byte, source string) (sdk.Snapshot, error) {
	snap, err := decode(name, content)
	if err != nil {
		return sdk.Snapshot{}, withPosition(name, err)
	}
	snap.Source, snap.Taken = source, time.Now()
	return snap, nil
}

func decode(name string, content []byte) (sdk.Snapshot, error) {
	root, err := parse(name, content)
	switch {
	case err != nil:
		return sdk.Snapshot{}, err
	case kindOf(root) == list:
		return decodeList(root)
	}
	return decodeSidecar(root)
}

// decodeSidecar has Sidecar's codec decode root as JSON, and finds the line of the codec's error.
func decodeSidecar(root *yaml.Node) (sdk.Snapshot, error) {
	var w jsonWriter
	w.write(root)
	snap, err := catalog.Decode(w.content)
	if bad, ok := errors.AsType[*catalog.Error](err); ok {
		return sdk.Snapshot{}, &fault{line: w.lineOf(bad.Offset), reason: bad.Reason}
	}
	return snap, err
}

// A fault is an error at a line, counted from 1; 0 where no line is known.
type fault struct {
	line   int
	reason string
}

func (f *fault) Error() string { return f.reason }

func faultAt(n *yaml.Node, format string, args ...any) *fault {
	return &fault{line: n.Line, reason: fmt.Sprintf(format, args...)}
}

type faults []*fault

func (f faults) Error() string { return fmt.Sprintf("%d faults", len(f)) }

// withPosition puts the file's name and the line before the reason of each fault in err.
func withPosition(name string, err error) error {
	all, ok := errors.AsType[faults](err)
	if single, is := errors.AsType[*fault](err); is && !ok {
		all, ok = faults{single}, true
	}
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	var joined []error
	for _, f := range all {
		if f.line > 0 {
			joined = append(joined, fmt.Errorf("%s:%d: %s", name, f.line, f.reason))
		} else {
			joined = append(joined, fmt.Errorf("%s: %s", name, f.reason))
		}
	}
	return errors.Join(joined...)
}
