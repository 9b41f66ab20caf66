package file

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// Decode reads a catalogue as the package describes it. The name decides between JSON and YAML, see [Config], and
// stands before the line in the error; source becomes the snapshot's [sdk.Snapshot.Source], and Taken the present
// time. All faults of a list are reported together.
func Decode(name string, content []byte, source string) (sdk.Snapshot, error) {
	snap, err := decode(name, content)
	if err != nil {
		return sdk.Snapshot{}, inFile(name, err)
	}
	snap.Source, snap.Taken = source, time.Now()
	return snap, nil
}

func decode(name string, content []byte) (sdk.Snapshot, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // a byte order mark, of which JSON knows nothing
	if len(bytes.TrimSpace(content)) == 0 {
		return sdk.Snapshot{}, &fault{reason: "the file is empty" + orNobody}
	}
	root, err := parse(name, content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	if root.kind == list {
		return decodeList(root)
	}
	return decodeSidecar(root)
}

// orNobody says how to write what an empty file is not taken for: it is more often half an edit.
const orNobody = "; a list without elements, [], is a catalogue without services"

func parse(name string, content []byte) (*node, error) {
	if isJSON(name, content) {
		return parseJSON(content)
	}
	return parseYAML(content)
}

func isJSON(name string, content []byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		return true
	case ".yaml", ".yml":
		return false
	default:
		first := bytes.TrimSpace(content)[0]
		return first == '{' || first == '['
	}
}

// decodeSidecar writes root in JSON for Sidecar's own codec, and finds the line of what that complains of.
func decodeSidecar(root *node) (sdk.Snapshot, error) {
	written := root.json()
	snap, err := catalog.Decode(written.content)
	if bad, ok := errors.AsType[*catalog.Error](err); ok {
		return sdk.Snapshot{}, &fault{line: written.lineOf(bad.Offset), reason: bad.Reason}
	}
	return snap, err
}

// A fault is something wrong at a line, counted from 1; 0 where no line is to blame.
type fault struct {
	line   int
	reason string
}

func (f *fault) Error() string { return f.reason }

func faultAt(n *node, format string, args ...any) *fault {
	return &fault{line: n.line, reason: fmt.Sprintf(format, args...)}
}

type faults []*fault

func (f faults) Error() string { return fmt.Sprintf("%d faults", len(f)) }

// inFile puts the file's name and the line before the reason of each fault in err.
func inFile(name string, err error) error {
	all, ok := errors.AsType[faults](err)
	if single, is := errors.AsType[*fault](err); is && !ok {
		all, ok = faults{single}, true
	}
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	var sentences []error
	for _, f := range all {
		if f.line > 0 {
			sentences = append(sentences, fmt.Errorf("%s:%d: %s", name, f.line, f.reason))
		} else {
			sentences = append(sentences, fmt.Errorf("%s: %s", name, f.reason))
		}
	}
	return errors.Join(sentences...)
}
