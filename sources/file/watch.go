package file

import (
	"context"
	"os"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The times of [filewatch.Watcher].
const (
	quiet    = 30 * time.Millisecond
	maxQuiet = 10 * quiet
	poll     = 5 * time.Second
)

// Watch emits the file's catalogue, and again whenever the file's content has changed. While the file is missing or
// invalid it emits nothing and logs the position of the fault. It returns nil once ctx is done.
func (s *Source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	s.watch(ctx, filewatch.Watcher{Quiet: quiet, MaxQuiet: maxQuiet, Poll: poll}, emit)
	return nil
}

// watch is Watch with the times of w.
func (s *Source) watch(ctx context.Context, w filewatch.Watcher, emit func(sdk.Snapshot)) {
	var content []byte
	var err error
	w.Paths = func() filewatch.Paths {
		paths := filewatch.Paths{}
		paths.Add(s.path)
		return paths
	}
	// The content counts and not its time stamp, which has too little resolution and may be set back.
	w.Read = func() string {
		if content, err = os.ReadFile(s.path); err != nil {
			return "error: " + err.Error()
		}
		return "content: " + string(content)
	}
	w.Changed = func() {
		var snap sdk.Snapshot
		if err == nil {
			snap, err = Decode(s.path, content, s.name)
		}
		if err != nil {
			s.fault.Warn(s.log, "cannot read the catalogue; keeping the last good one until the file is corrected",
				err, "file", s.path)
			return
		}
		s.fault.Resolve(s.log, "the catalogue can be read again", "file", s.path)
		snap.Cause = sdk.CauseWatch
		emit(s.withChangeTime(snap))
	}
	w.Run(ctx, "")
}

// withChangeTime sets the time at which the catalogue changed to that of the file, unless the content contains one.
func (s *Source) withChangeTime(snap sdk.Snapshot) sdk.Snapshot {
	if snap.Changed.IsZero() {
		if info, err := os.Stat(s.path); err == nil {
			snap.Changed = info.ModTime()
		}
	}
	return snap
}

// Health reports why the file cannot be read.
func (s *Source) Health(context.Context) (sdk.Health, error) {
	if cause := s.fault.Cause(); cause != "" { // with the path
		return sdk.Health{Problems: []string{"cannot read the catalogue: " + cause}}, nil
	}
	return sdk.Health{}, nil
}

var _ sdk.Reporter = (*Source)(nil)
