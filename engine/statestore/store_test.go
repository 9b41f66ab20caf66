package statestore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/internal/trust"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var moment = time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC)

func testState() (sdk.Snapshot, engine.AppliedDocument) {
	web := sdk.Instance{
		ID: "1", Name: "web", Image: "web:1.2", Created: moment, Hostname: "h", Updated: moment, ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: 31000, ServicePort: 8080, IP: "10.0.0.1"}}, Status: sdk.Draining,
		Labels: map[string]string{"canary": "10"},
	}
	files := []sdk.File{
		{Name: "haproxy.cfg", Content: []byte("global\n\xff\x00")}, {Name: "routes.map", Content: []byte("a b\n")},
	}
	return sdk.Snapshot{
			Source: "sidecar", Cluster: "demo", Taken: moment, Changed: moment.Add(-time.Hour),
			Services: sdk.GroupByName([]sdk.Instance{web}),
			Last:     &sdk.Change{Instance: web, PreviousStatus: sdk.Alive, Time: moment},
		}, engine.AppliedDocument{
			SinkType: "haproxy",
			Document: sdk.Document{Pipeline: "edge", Generation: 7, Digest: sdk.DigestOf(files), Files: files},
			Excluded: []exclude.Exclusion{{Service: "bad", Hostname: "h", ID: "1", Reason: "line 3"}},
		}
}

func openStore(t *testing.T, dir string) (*Store, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	s, err := Open(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func loadFile(path, kind string, v any) error {
	content, err := readFile(path)
	if err != nil {
		return err
	}
	return decode(content, kind, v)
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// savedDir returns a directory with the test state.
func savedDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s, _ := openStore(t, dir)
	snap, applied := testState()
	s.SaveSnapshot("sidecar", snap)
	s.SaveAppliedDocument("edge", applied)
	closeStore(t, s)
	return dir
}

func TestStore_SavedStateIsReadAfterReopening(t *testing.T) {
	dir := savedDir(t)
	s, log := openStore(t, dir)
	defer closeStore(t, s)
	wantSnap, wantApplied := testState()
	if snap, ok := s.Snapshot("sidecar"); !ok || !reflect.DeepEqual(snap, wantSnap) {
		t.Errorf("got %v %+v, want %+v", ok, snap, wantSnap)
	}
	if applied, ok := s.AppliedDocument("edge"); !ok || !reflect.DeepEqual(applied, wantApplied) {
		t.Errorf("got %v %+v, want %+v", ok, applied, wantApplied)
	}
	if _, ok := s.Snapshot("edge"); ok {
		t.Error("got the snapshot of another source")
	}
	if log.String() != "" {
		t.Errorf("logged %s", log)
	}
}

func TestStore_FilesArePrivate(t *testing.T) {
	dir := savedDir(t)
	for _, name := range []string{".", "lock", "source-sidecar.json", "pipeline-edge.json"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %o", name, mode)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, slog.New(slog.DiscardHandler))
	if !errors.Is(err, errWritable) {
		t.Errorf("a directory that the group can write to: %v", err)
	}
}

func TestOpen_LockedDirectory(t *testing.T) {
	dir := savedDir(t)
	s, _ := openStore(t, dir)
	_, err := Open(dir, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("opening it twice: %v", err)
	}
	closeStore(t, s)
	again, _ := openStore(t, dir)
	closeStore(t, again)
}

func TestOpen_NotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestStore_DamagedFileIsSetAside(t *testing.T) {
	good := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(savedDir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	snap, applied := good("source-sidecar.json"), good("pipeline-edge.json")
	_, altered := testState()
	altered.Document.Files[0].Content = []byte("backend evil\n")
	forged, err := encode(altered)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file string
		content    []byte
		want       error
	}{
		{"empty", "source-sidecar.json", nil, errNoHeader},
		{"garbage", "source-sidecar.json", []byte("\x00\x01\n{}"), errNoHeader},
		{"no body", "source-sidecar.json", bytes.SplitAfter(snap, []byte("\n"))[0], errChecksum},
		{"truncated", "source-sidecar.json", snap[:len(snap)-1], errChecksum},
		{"longer", "source-sidecar.json", append(bytes.Clone(snap), ' '), errChecksum},
		{"one digit", "source-sidecar.json", bytes.Replace(snap, []byte("31000"), []byte("31001"), 1), errChecksum},
		{"a later format", "source-sidecar.json", bytes.Replace(snap, []byte(`"Format":1`), []byte(`"Format":2`), 1),
			errFormat},
		{"an applied document", "source-sidecar.json", applied, errKind},
		{"a snapshot", "pipeline-edge.json", snap, errKind},
		{"a modified document", "pipeline-edge.json", forged, errDigest},
	} {
		dir := savedDir(t)
		path := filepath.Join(dir, test.file)
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, log := openStore(t, dir)
		var ok bool
		if test.file == "source-sidecar.json" {
			_, ok = s.Snapshot("sidecar")
		} else {
			_, ok = s.AppliedDocument("edge")
		}
		if ok || !strings.Contains(log.String(), test.want.Error()) {
			t.Errorf("%s: used %v, want %q in the log:\n%s", test.name, ok, test.want, log)
		}
		if aside, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(aside, test.content) {
			t.Errorf("%s: not renamed: %v", test.name, err)
		}
		want, _ := testState()
		s.SaveSnapshot("sidecar", want) // the store is still usable
		closeStore(t, s)
	}
}

// Reading a directory stands for a failing disk, missing permissions or missing file descriptors: the file may be valid.
func TestStore_UnreadableFileIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := savedDir(t)
		path := filepath.Join(dir, "source-sidecar.json")
		s, log := openStore(t, dir)
		defer closeStore(t, s)
		hide := func() {
			if err := errors.Join(os.Rename(path, path+".hidden"), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		show := func() {
			if err := errors.Join(os.Remove(path), os.Rename(path+".hidden", path)); err != nil {
				t.Error(err)
			}
		}
		hide()
		if _, ok := s.Snapshot("sidecar"); ok || strings.Count(log.String(), "level=ERROR") != 1 {
			t.Errorf("used %v, logged %s", ok, log)
		}
		if _, err := os.Lstat(path + ".damaged"); err == nil {
			t.Error("the file was renamed")
		}
		show()
		if _, ok := s.Snapshot("sidecar"); !ok {
			t.Error("the file is not read again")
		}
		hide()
		time.AfterFunc(readRetry+readRetry/2, show)
		if _, ok := s.Snapshot("sidecar"); !ok {
			t.Error("reading is not retried")
		}
	})
}

func TestOpen_DirectoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can change the owner
	}
	const otherUser = 54321
	parent := t.TempDir()
	dir := filepath.Join(parent, "state")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, otherUser, otherUser)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, trust.ErrOwner) {
		t.Errorf("the directory: %v", err)
	}
	if err := errors.Join(os.Chown(dir, 0, 0), os.Chown(parent, otherUser, otherUser)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, trust.ErrOwner) {
		t.Errorf("its parent: %v", err)
	}
}

// The target of a symbolic link is not read, locked or written to.
func TestStore_SymbolicLinksAreNotFollowed(t *testing.T) {
	dir, elsewhere := savedDir(t), filepath.Join(t.TempDir(), "elsewhere")
	plant := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		_ = os.Remove(path)
		if err := errors.Join(os.WriteFile(elsewhere, []byte(content), 0o600), os.Symlink(elsewhere, path)); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(filepath.Join(dir, "source-sidecar.json"))
	if err != nil {
		t.Fatal(err)
	}
	plant("lock", "precious")
	if s, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil {
		closeStore(t, s)
		t.Error("the target was locked")
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	s, _ := openStore(t, dir)
	plant("source-sidecar.json", string(good))
	if _, ok := s.Snapshot("sidecar"); ok {
		t.Error("the target was read")
	}
	plant("source-sidecar.json"+tempSuffix, "precious")
	snap, _ := testState()
	s.SaveSnapshot("sidecar", snap)
	closeStore(t, s)
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != "precious" {
		t.Errorf("the target became %q, %v", content, err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "source-sidecar.json")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link was not replaced: %v, %v", info, err)
	}
}

func TestStore_CrashDuringWrite(t *testing.T) {
	dir := savedDir(t)
	if err := os.WriteFile(filepath.Join(dir, "source-sidecar.json"+tempSuffix), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := openStore(t, dir)
	defer closeStore(t, s)
	if _, ok := s.Snapshot("sidecar"); !ok {
		t.Error("the old file is not used")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+tempSuffix)); len(left) > 0 {
		t.Errorf("temporary files: %v", left)
	}
}

func TestStore_WritesNewestOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, _ := openStore(t, dir)
		defer closeStore(t, s)
		written := func() (cluster string) {
			var snap sdk.Snapshot
			if err := loadFile(filepath.Join(dir, "source-x.json"), kindSnapshot, &snap); err != nil {
				t.Fatal(err)
			}
			return snap.Cluster
		}
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "1"})
		synctest.Wait()
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "2"})
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "3"})
		synctest.Wait()
		if got := written(); got != "1" {
			t.Errorf("written at once: %s, want 1", got)
		}
		time.Sleep(writeInterval)
		synctest.Wait()
		if got := written(); got != "3" {
			t.Errorf("written after the interval: %s, want 3", got)
		}
	})
}

func TestStore_FailedWriteIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		s, log := openStore(t, dir)
		defer closeStore(t, s)
		// Not even root can write a file where a directory is.
		obstacle := filepath.Join(dir, "source-x.json"+tempSuffix)
		if err := os.Mkdir(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "1"})
		time.Sleep(3 * writeRetry)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("logged %d errors, want 1:\n%s", n, log)
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeRetry)
		synctest.Wait()
		var snap sdk.Snapshot
		err := loadFile(filepath.Join(dir, "source-x.json"), kindSnapshot, &snap)
		if err != nil || snap.Cluster != "1" || strings.Count(log.String(), "level=INFO") != 1 {
			t.Errorf("after the retry: %v %+v\n%s", err, snap, log)
		}
	})
}

// A component that is removed from the configuration and added again must not get older state than it saved.
func TestStore_ReturnsUnwrittenState(t *testing.T) {
	s, _ := openStore(t, filepath.Join(t.TempDir(), "state"))
	defer closeStore(t, s)
	snap, applied := testState()
	for i := range 3 {
		snap.Cluster, applied.Document.Generation, applied.SinkType = fmt.Sprint(i), uint64(i), fmt.Sprint(i)
		s.SaveSnapshot("sidecar", snap)
		s.SaveAppliedDocument("edge", applied)
		if got, ok := s.Snapshot("sidecar"); !ok || !reflect.DeepEqual(got, snap) {
			t.Errorf("got %v %+v, want %+v", ok, got, snap)
		}
		if got, ok := s.AppliedDocument("edge"); !ok || !reflect.DeepEqual(got, applied) {
			t.Errorf("got %v %+v, want %+v", ok, got, applied)
		}
	}
}

func TestStore_RewritesAllFilesAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		s, log := openStore(t, dir)
		defer closeStore(t, s)
		_, applied := testState()
		s.SaveAppliedDocument("edge", applied)
		s.SaveSnapshot("x", sdk.Snapshot{})
		time.Sleep(time.Minute)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.SaveSnapshot("x", sdk.Snapshot{}) // but no document of the pipeline
		time.Sleep(time.Minute)
		if problem := s.Problem(); !strings.Contains(problem, filepath.Join(dir, "source-x.json")) {
			t.Errorf("problem %q", problem)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if problem := s.Problem(); problem != "" {
			t.Errorf("after the repair the problem is %q", problem)
		}
		for _, name := range []string{"source-x.json", "pipeline-edge.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%v\n%s", err, log)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	snap, applied := testState()
	for _, v := range []any{snap, applied, sdk.Snapshot{}} {
		content, err := encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		// The checksum rejects nearly every modified file, so the bodies are inputs too.
		_, body, _ := bytes.Cut(content, []byte("\n"))
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, given := range [][]byte{content, withHeader(t, kindSnapshot, content)} {
			var snap sdk.Snapshot
			if decode(given, kindSnapshot, &snap) == nil {
				checkRoundTrip(t, kindSnapshot, snap)
			}
		}
		var applied engine.AppliedDocument
		if decode(withHeader(t, kindApplied, content), kindApplied, &applied) == nil {
			checkRoundTrip(t, kindApplied, applied)
		}
	})
}

// checkRoundTrip fails unless v encodes to the same bytes again after decoding.
func checkRoundTrip[T any](t *testing.T, kind string, v T) {
	first, err := encode(v)
	if err != nil {
		return // JSON cannot represent every year
	}
	var again T
	if err := decode(first, kind, &again); err != nil {
		t.Fatalf("decoding what was encoded: %v", err)
	}
	if second, err := encode(again); err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%v\n%s\n%s", err, first, second)
	}
}

func withHeader(t *testing.T, kind string, body []byte) []byte {
	content, err := addHeader(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
