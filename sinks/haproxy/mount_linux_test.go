package haproxy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// lifeOfChanges takes HAProxy through a start, reloads, a change at run time and rejected documents.
func (r *testEnv) lifeOfChanges(one, two, three sdk.Document) {
	r.t.Helper()
	s := r.sink()
	r.apply(s, one, sdk.ActionRestart)
	r.wantServed("one")
	r.apply(s, two, sdk.ActionReload)
	r.wantServed("two")
	r.wantOnDisk(two)
	if _, err := s.Apply(r.t.Context(), edited(three, "frontend web", "bogus\nfrontend web")); !errors.Is(err, sdk.ErrRejected) {
		r.t.Errorf("got %v", err)
	}
	if _, err := s.Apply(r.t.Context(), withGlobal(three, "    chroot "+r.path("nowhere")+"\n")); !isNotLoaded(err) {
		r.t.Errorf("got %v", err)
	}
	r.wantOnDisk(two)
	more := edited(two, "server s1", "server s2 127.0.0.1:9\n    server s1")
	r.apply(s, more, sdk.ActionRuntime)
	eventually(r.t, "the change is on disk", func() bool { return r.onDisk() == string(more.Files[0].Content) })
	r.apply(s, three, r.reloadAfterFailure())
	r.wantServed("three")
	r.wantOnDisk(three)
	wantHealthy(r.t, s)
	r.stop(s)
	r.wantTidy()
}

func TestMountPoint_ConfigCompanionAndPidFile(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	r := newTestEnv(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var before []os.FileInfo
	mounted := []string{r.cfg.ConfigFile, r.cfg.PidFile}
	for _, name := range []string{"routes.map", "haproxy.cfg.applied", "haproxy.base.cfg"} {
		mounted = append(mounted, r.path(name))
	}
	for _, path := range mounted {
		check(t, os.WriteFile(path, nil, 0o640))
		info, err := os.Stat(path)
		check(t, err)
		before = append(before, info)
		defer mounttest.Bind(t, path)()
	}
	r.lifeOfChanges(r.withMap("routes.map", "one"), r.withMap("routes.map", "two"), r.withMap("routes.map", "three"))
	for i, path := range mounted {
		if info, err := os.Stat(path); err != nil || !os.SameFile(info, before[i]) || info.Mode() != before[i].Mode() {
			t.Errorf("%s is another file, or has another mode: %v, %v", path, info.Mode(), err)
		}
	}
	s := r.sink()
	r.apply(s, r.withMap("routes.map", "three"), sdk.ActionUnchanged) // adopted
	kill(t, r.running(s).Pids[0])
	eventually(t, "HAProxy serves again", func() bool { return r.served() == "three" })
	if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
		t.Errorf("left are %q, %v", entries, err)
	}
}

// The configuration is a file that is mounted into a read-only directory, as in a container with a read-only root.
func TestMountPoint_InReadOnlyDirectory(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	r := newTestEnv(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	directory := t.TempDir()
	r.cfg.ConfigFile = filepath.Join(directory, "haproxy.cfg")
	check(t, os.WriteFile(r.cfg.ConfigFile, nil, 0o644))
	defer mounttest.Bind(t, r.cfg.ConfigFile)()
	defer mounttest.ReadOnly(t, directory)()
	r.lifeOfChanges(r.document("one"), r.document("two"), r.document("three"))
	s := r.sink()
	r.apply(s, r.document("three"), sdk.ActionReload) // what is in effect cannot be recorded
	if _, err := s.Apply(t.Context(), r.withMap("routes.map", "four")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a companion that cannot be written: %v", err)
	}
	r.wantServed("three")
	for dir, want := range map[string]int{temp: 0, directory: 1} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
			t.Errorf("left are %q, %v", entries, err)
		}
	}
}

// A process that is killed while it writes in place leaves a part of the content.
func TestMountPoint_HalfWritten(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	r := newTestEnv(t)
	check(t, os.WriteFile(r.cfg.ConfigFile, nil, 0o644))
	defer mounttest.Bind(t, r.cfg.ConfigFile)()
	one := r.document("one")
	first := r.sink()
	r.apply(first, one, sdk.ActionRestart)
	now := r.running(first)
	r.stop(first)
	half := string(one.Files[0].Content[:len(one.Files[0].Content)-30]) + "half a lin"
	check(t, os.WriteFile(r.cfg.ConfigFile, []byte(half), 0o644))
	second := r.sink()
	r.apply(second, one, sdk.ActionReload)
	r.wantOnDisk(one)
	r.stop(second)

	check(t, os.WriteFile(r.cfg.ConfigFile, []byte(half), 0o644))
	kill(t, now.Pids[0])
	eventually(t, "it is gone", func() bool { return r.served() == "" })
	third := r.sink()
	if problems(t, third) == "" {
		t.Error("healthy without HAProxy")
	}
	r.apply(third, one, sdk.ActionRestart)
	r.wantServed("one")
	r.wantOnDisk(one)
	wantHealthyEventually(t, third) // the killed process may listen for a moment
}

// HAProxy would end at a reload if it could not bind its sockets again.
func TestReadOnlyDirectory_OfTheSockets(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	r := newTestEnv(t)
	r.cfg.ConfigFile = filepath.Join(t.TempDir(), "haproxy.cfg")
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	before := r.running(s)
	unmount := mounttest.ReadOnly(t, r.dir)
	if _, err := s.Apply(t.Context(), r.document("two")); !errors.Is(err, syscall.EROFS) || isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	unmount()
	if now := r.running(s); now.Pids[0] != before.Pids[0] {
		t.Errorf("HAProxy is process %v and was %v", now.Pids, before.Pids)
	}
	r.wantServed("one")
	r.wantOnDisk(r.document("one"))
	r.apply(s, r.document("two"), sdk.ActionReload)
	r.wantServed("two")
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	r := newTestEnv(t)
	t.Cleanup(mounttest.Disk(t, r.dir, "8m"))
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	big := r.document("big", strings.Repeat("# filling\n", 150_000))

	const room = 1 << 20
	check(t, os.WriteFile(r.path("filling"), make([]byte, 8<<20-room), 0o600))
	_, err := s.Apply(t.Context(), big)
	check(t, os.Remove(r.path("filling")))
	wantError(t, err, "cannot write a new file into the directory "+r.dir)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	r.wantServed("one")
	r.wantOnDisk(one)
	r.wantTidy()
	r.apply(s, big, sdk.ActionReload)
	r.wantServed("big")
}
