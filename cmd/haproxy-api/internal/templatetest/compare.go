package templatetest

import (
	"context"
	"path/filepath"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// CompareLive returns the unified diff from the files on disk to what the template set renders for snap, and the notes of the
// rendering. The main file is at path and the companions are beside it. renderedFrom names the origin of snap in the diff. Lines
// that differ only in the time of the rendering count as equal.
func CompareLive(ctx context.Context, set templates.Config, snap sdk.Snapshot, path, renderedFrom string) (
	changes []byte, notes []string, err error,
) {
	now := time.Now()
	files, notes, err := Render(ctx, set, snap, now)
	if err != nil {
		return nil, nil, err
	}
	others := renderAtOtherTimes(ctx, set, snap, now)
	for i, rendered := range files {
		at := path
		if i > 0 {
			at = filepath.Join(filepath.Dir(path), rendered.Name)
		}
		live, err := readFile(at, "live")
		if err != nil {
			return nil, notes, err
		}
		content := replaceTimes(rendered.Content, others[i], live.content)
		next := file{path: at, version: "rendered from " + renderedFrom, content: content}
		changes = append(changes, unifiedDiff(live, next)...)
	}
	return changes, notes, nil
}

// renderAtOtherTimes returns the content of each file, by its index, at other times. A time at which rendering fails is skipped.
func renderAtOtherTimes(ctx context.Context, set templates.Config, snap sdk.Snapshot, now time.Time) map[int][][]byte {
	versions := map[int][][]byte{}
	for _, at := range otherTimes(now) {
		files, _, err := Render(ctx, set, snap, at)
		if err != nil {
			continue
		}
		for i, f := range files {
			versions[i] = append(versions[i], f.Content)
		}
	}
	return versions
}
