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

func sample() (sdk.Snapshot, engine.AppliedDocument) {
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

func open(t *testing.T, dir string) (*Store, *logged) {
	t.Helper()
	log := &logged{}
	s, err := Open(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func closed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// kept returns a folder with the sample in it.
func kept(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s, _ := open(t, dir)
	snap, effect := sample()
	s.SaveSnapshot("sidecar", snap)
	s.SaveAppliedDocument("edge", effect)
	closed(t, s)
	return dir
}

func TestWhatIsKeptComesBack(t *testing.T) {
	dir := kept(t)
	s, log := open(t, dir)
	defer closed(t, s)
	wantSnap, wantEffect := sample()
	if snap, ok := s.Snapshot("sidecar"); !ok || !reflect.DeepEqual(snap, wantSnap) {
		t.Errorf("got %v %+v, want %+v", ok, snap, wantSnap)
	}
	if effect, ok := s.AppliedDocument("edge"); !ok || !reflect.DeepEqual(effect, wantEffect) {
		t.Errorf("got %v %+v, want %+v", ok, effect, wantEffect)
	}
	if _, ok := s.Snapshot("edge"); ok {
		t.Error("another source's snapshot came back")
	}
	if log.String() != "" {
		t.Errorf("it said %s", log)
	}
}

func TestOnlyTheOwnerMayLook(t *testing.T) {
	dir := kept(t)
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
		t.Errorf("there are %v, %v", entries, err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "can be written by others") {
		t.Errorf("a folder open to the group: %v", err)
	}
}

func TestAFolderIsForOne(t *testing.T) {
	dir := kept(t)
	s, _ := open(t, dir)
	_, err := Open(dir, slog.New(slog.DiscardHandler))
	want := "the state_dir " + dir + " cannot be used: another haproxy-api uses it; give each its own"
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("the second one: %v", err)
	}
	closed(t, s)
	again, _ := open(t, dir)
	closed(t, again)
}

func TestAFolderThatCannotBe(t *testing.T) {
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

func TestADamagedFileIsSetAside(t *testing.T) {
	good := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(kept(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	snap, effect := good("source-sidecar.json"), good("pipeline-edge.json")
	_, altered := sample()
	altered.Document.Files[0].Content = []byte("backend evil\n")
	forged, err := encode(altered)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"empty", "source-sidecar.json", nil, "it has no header"},
		{"rubbish", "source-sidecar.json", []byte("\x00\x01\n{}"), "it has no header"},
		{"no body", "source-sidecar.json", bytes.SplitAfter(snap, []byte("\n"))[0], "its checksum is wrong"},
		{"cut", "source-sidecar.json", snap[:len(snap)-1], "its checksum is wrong"},
		{"longer", "source-sidecar.json", append(bytes.Clone(snap), ' '), "its checksum is wrong"},
		{"a bit", "source-sidecar.json", bytes.Replace(snap, []byte("31000"), []byte("31001"), 1), "its checksum is wrong"},
		{"a later format", "source-sidecar.json", bytes.Replace(snap, []byte(`"Format":1`), []byte(`"Format":2`), 1),
			"its format is 2, and this version knows 1"},
		{"the other kind", "source-sidecar.json", effect, "it is not a snapshot"},
		{"the other kind", "pipeline-edge.json", snap, "it is not a document in effect"},
		{"another document", "pipeline-edge.json", forged, "the document is not the one that it says"},
	} {
		dir := kept(t)
		path := filepath.Join(dir, test.file)
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, log := open(t, dir)
		var ok bool
		if test.file == "source-sidecar.json" {
			_, ok = s.Snapshot("sidecar")
		} else {
			_, ok = s.AppliedDocument("edge")
		}
		if ok || !strings.Contains(log.String(), test.want) {
			t.Errorf("%s: believed %v, and it said %s", test.name, ok, log)
		}
		if aside, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(aside, test.content) {
			t.Errorf("%s: not set aside: %v", test.name, err)
		}
		want, _ := sample()
		s.SaveSnapshot("sidecar", want) // life goes on
		closed(t, s)
	}
}

// Reading a folder fails like a disk, a permission or a want of file descriptors would: that says nothing of the file.
func TestRecall_AFileThatCannotBeReadIsKeptAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := kept(t)
		path := filepath.Join(dir, "source-sidecar.json")
		s, log := open(t, dir)
		defer closed(t, s)
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
			t.Errorf("believed %v, and it said %s", ok, log)
		}
		if _, err := os.Lstat(path + ".damaged"); err == nil {
			t.Error("it was set aside")
		}
		show()
		if _, ok := s.Snapshot("sidecar"); !ok {
			t.Error("it is not asked for again")
		}
		hide()
		time.AfterFunc(readPause+readPause/2, show)
		if _, ok := s.Snapshot("sidecar"); !ok {
			t.Error("a trouble of a moment is not waited for")
		}
	})
}

func TestOpen_RefusesAFolderOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give a folder away
	}
	const stranger = 54321
	parent := t.TempDir()
	dir := filepath.Join(parent, "state")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, trust.ErrOwner) {
		t.Errorf("the folder: %v", err)
	}
	if err := errors.Join(os.Chown(dir, 0, 0), os.Chown(parent, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, trust.ErrOwner) {
		t.Errorf("the folder above: %v", err)
	}
}

// A planted link has no effect: its target is neither read, nor locked, nor written to.
func TestStore_FollowsNoLink(t *testing.T) {
	dir, elsewhere := kept(t), filepath.Join(t.TempDir(), "elsewhere")
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
		closed(t, s)
		t.Error("a link was locked")
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, dir)
	plant("source-sidecar.json", string(good))
	if _, ok := s.Snapshot("sidecar"); ok {
		t.Error("what a link leads to was believed")
	}
	plant("source-sidecar.json"+halfWritten, "precious")
	snap, _ := sample()
	s.SaveSnapshot("sidecar", snap)
	closed(t, s)
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != "precious" {
		t.Errorf("what a link leads to became %q, %v", content, err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "source-sidecar.json")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link was not replaced: %v, %v", info, err)
	}
}

func TestACrashLeavesTheOldOrTheNewFile(t *testing.T) {
	dir := kept(t)
	if err := os.WriteFile(filepath.Join(dir, "source-sidecar.json"+halfWritten), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, dir)
	defer closed(t, s)
	if _, ok := s.Snapshot("sidecar"); !ok {
		t.Error("the old file is not believed")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+halfWritten)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheNewestIsWrittenSoonAndWithinReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, dir)
		defer closed(t, s)
		on := func() (cluster string) {
			var snap sdk.Snapshot
			if err := load(filepath.Join(dir, "source-x.json"), kindSnapshot, &snap); err != nil {
				t.Fatal(err)
			}
			return snap.Cluster
		}
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "1"})
		synctest.Wait()
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "2"})
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "3"})
		synctest.Wait()
		if got := on(); got != "1" {
			t.Errorf("written at once: %s", got)
		}
		time.Sleep(pause)
		synctest.Wait()
		if got := on(); got != "3" {
			t.Errorf("written after a pause: %s", got)
		}
	})
}

func TestADiskThatTakesNothingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		s, log := open(t, dir)
		defer closed(t, s)
		// Nobody can write a file where a folder is, root neither.
		obstacle := filepath.Join(dir, "source-x.json"+halfWritten)
		if err := os.Mkdir(obstacle, 0o700); err != nil {
			t.Fatal(err)
		}
		s.SaveSnapshot("x", sdk.Snapshot{Cluster: "1"})
		time.Sleep(3 * retryAfter)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be kept"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		synctest.Wait()
		var snap sdk.Snapshot
		err := load(filepath.Join(dir, "source-x.json"), kindSnapshot, &snap)
		if err != nil || snap.Cluster != "1" || !strings.Contains(log.String(), "kept again") {
			t.Errorf("after the trouble: %v %+v\n%s", err, snap, log)
		}
	})
}

// A part that is taken out of the configuration and put in again must not find something older than it left.
func TestWhatIsNotWrittenYetIsKnown(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "state"))
	defer closed(t, s)
	snap, effect := sample()
	for i := range 3 {
		snap.Cluster, effect.Document.Generation, effect.SinkType = fmt.Sprint(i), uint64(i), fmt.Sprint(i)
		s.SaveSnapshot("sidecar", snap)
		s.SaveAppliedDocument("edge", effect)
		if got, ok := s.Snapshot("sidecar"); !ok || !reflect.DeepEqual(got, snap) {
			t.Errorf("got %v %+v, want %+v", ok, got, snap)
		}
		if got, ok := s.AppliedDocument("edge"); !ok || !reflect.DeepEqual(got, effect) {
			t.Errorf("got %v %+v, want %+v", ok, got, effect)
		}
	}
}

func TestAFolderThatIsGoneIsFilledAgainWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		s, log := open(t, dir)
		defer closed(t, s)
		_, effect := sample()
		s.SaveAppliedDocument("edge", effect)
		s.SaveSnapshot("x", sdk.Snapshot{})
		time.Sleep(time.Minute)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.SaveSnapshot("x", sdk.Snapshot{}) // and nothing new of the pipeline
		time.Sleep(time.Minute)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, name := range []string{"source-x.json", "pipeline-edge.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%v\n%s", err, log)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	snap, effect := sample()
	for _, v := range []any{snap, effect, sdk.Snapshot{}} {
		content, err := encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		// The checksum keeps nearly every change out, so the bodies alone are given too.
		_, body, _ := bytes.Cut(content, []byte("\n"))
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, given := range [][]byte{content, vouchedFor(t, kindSnapshot, content)} {
			var snap sdk.Snapshot
			if decode(given, kindSnapshot, &snap) == nil {
				comesBack(t, kindSnapshot, snap)
			}
		}
		var effect engine.AppliedDocument
		if decode(vouchedFor(t, kindApplied, content), kindApplied, &effect) == nil {
			comesBack(t, kindApplied, effect)
		}
	})
}

// comesBack fails unless encoding and decoding v gives what encodes to the same.
func comesBack[T any](t *testing.T, kind string, v T) {
	first, err := encode(v)
	if err != nil {
		return // a year that JSON has no words for
	}
	var again T
	if err := decode(first, kind, &again); err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if second, err := encode(again); err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%v\n%s\n%s", err, first, second)
	}
}

func vouchedFor(t *testing.T, kind string, body []byte) []byte {
	content, err := vouch(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
