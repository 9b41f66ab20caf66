package haproxy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestApply_StartUnchangedWrittenReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")

	r.apply(s, one, sdk.ActionRestart)
	r.wantServed("one")
	r.wantOnDisk(one)
	wantHealthy(t, s)
	first := r.running(s)
	if group, err := syscall.Getpgid(first.Pids[0]); err != nil || group == syscall.Getpgrp() {
		t.Errorf("HAProxy is in our process group, whose signals would end it: %d, %v", group, err)
	}

	r.apply(s, one, sdk.ActionUnchanged)
	commented := edited(one, "frontend web", "# a comment\n\nfrontend   web # another")
	r.apply(s, commented, sdk.ActionWritten)
	r.wantOnDisk(commented)
	if now := r.running(s); !now.Same(first) {
		t.Errorf("processes %v became %v without a reason", first, now)
	}

	two := r.document("two")
	result := r.apply(s, two, sdk.ActionReload)
	if !strings.Contains(result.Reason, "frontend web") {
		t.Errorf("reason %q does not name the frontend that changed", result.Reason)
	}
	r.wantServed("two")
	r.wantOnDisk(two)
	now := r.running(s)
	if now.Pids[0] != first.Pids[0] || now.Worker == first.Worker {
		t.Errorf("a reload led from %v to %v, want the same master and another worker", first, now)
	}
	r.wantTidy()
}

func TestHealth_Facts(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	if p := problems(t, s); !strings.Contains(p, "not running") || !strings.Contains(p, "no document") {
		t.Errorf("before the first document the problems are %q", p)
	}
	r.apply(s, r.document("one"), sdk.ActionRestart)
	h, err := s.Health(t.Context())
	check(t, err)
	for _, fact := range []string{"pid", "worker", "version", "config_file", "mode"} {
		if h.Facts[fact] == "" {
			t.Errorf("no fact %q in %v", fact, h.Facts)
		}
	}
}

func TestApply_RejectedDocumentChangesNothing(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	good := r.document("good")
	r.apply(s, good, sdk.ActionRestart)
	before := r.running(s)

	_, err := s.Apply(t.Context(), r.document("bad", "    bogus line"))
	wantError(t, err, "HAProxy rejects", "unknown keyword 'bogus'", r.cfg.ConfigFile+":14]")
	if !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("%v is not ErrRejected", err)
	}
	if strings.Contains(err.Error(), "/.haproxy") {
		t.Errorf("the error shows a temporary name: %v", err)
	}
	r.wantServed("good")
	r.wantOnDisk(good)
	r.wantTidy()
	if !r.running(s).Same(before) {
		t.Error("HAProxy was touched")
	}
	wantHealthy(t, s)
}

// hiddenBind is a frontend with an address that is not tried before HAProxy tries it, because it has a name.
func hiddenBind(port int) string {
	return fmt.Sprintf("frontend other\n    bind ipv4@localhost:%d", port)
}

// A reload that cannot bind would make the running HAProxy refuse connections for seconds.
func TestApply_PortInUseIsDetectedBeforeTheReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	before := r.running(s)
	port, free := occupy(t)
	two := r.document("two", fmt.Sprintf("frontend other\n    bind 127.0.0.1:%d", port))

	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if got := r.served(); got != "one" {
					t.Errorf("served by %q meanwhile", got)
				}
			}
		}
	})
	for range 3 {
		_, err := s.Apply(t.Context(), two)
		wantError(t, err, fmt.Sprintf("HAProxy cannot bind 127.0.0.1:%d: process %d", port, os.Getpid()))
	}
	close(stop)
	asking.Wait()
	r.wantOnDisk(one)
	r.wantTidy()
	if !r.running(s).Same(before) {
		t.Error("HAProxy was touched")
	}

	free()
	r.apply(s, two, sdk.ActionReload)
	r.wantServed("two")
}

func TestApply_PortInUseAtStart(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	port, free := occupy(t)
	doc := r.document("one", hiddenBind(port))

	_, err := s.Apply(t.Context(), doc)
	wantError(t, err, fmt.Sprintf("127.0.0.1:%d", port))
	if errors.Is(err, sdk.ErrRejected) {
		t.Error("the document was rejected because another program uses its port")
	}
	if r.onDisk() != "" {
		t.Error("the configuration that did not start was left on disk")
	}
	r.wantTidy()

	free()
	r.apply(s, doc, sdk.ActionRestart)
	r.wantServed("one")
}

func TestApply_PortInUseAtReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	before := r.running(s)
	port, free := occupy(t)
	two := r.document("two", hiddenBind(port))

	_, err := s.Apply(t.Context(), two)
	if !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, sdk.ErrRejected) {
		t.Error("the document was rejected because another program uses its port")
	}
	r.wantServed("one")
	r.wantOnDisk(one)
	r.wantTidy()
	if !r.running(s).Same(before) {
		t.Error("the worker that served was not kept")
	}
	wantHealthy(t, s)
	r.apply(s, one, sdk.ActionUnchanged)

	free()
	two.Retry = true
	r.apply(s, two, r.reloadAfterFailure())
	r.wantServed("two")
}

func TestApply_KeepsSymbolicLinks(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	target := filepath.Join(r.dir, "real", "lb.cfg")
	check(t, os.Mkdir(filepath.Dir(target), 0o755))
	check(t, os.WriteFile(target, nil, 0o640))
	check(t, os.Symlink(target, r.cfg.ConfigFile))
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.wantServed("one")
	link, err := os.Lstat(r.cfg.ConfigFile)
	check(t, err)
	if link.Mode()&os.ModeSymlink == 0 {
		t.Error("the link became a file")
	}
	info, err := os.Stat(target)
	check(t, err)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode became %v", info.Mode())
	}
}

func TestApply_MissingBinary(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.Binary = "haproxy-that-nobody-has"
	s := r.sink()
	_, err := s.Apply(t.Context(), r.document("one"))
	wantError(t, err, `HAProxy is not installed: there is no "haproxy-that-nobody-has" in PATH`)
	if errors.Is(err, sdk.ErrRejected) {
		t.Error("a HAProxy that is not installed may be installed: this is worth a retry")
	}
	if p := problems(t, s); !strings.Contains(p, "not installed") {
		t.Errorf("Health says %q", p)
	}
	r.wantTidy()

	r.cfg.Binary = r.path("haproxy")
	_, err = r.sink().Apply(t.Context(), r.document("one"))
	wantError(t, err, "there is no program "+r.cfg.Binary)
}

// A document that passed its check while the sink was being stopped changes nothing.
func TestCommitAndReload_Stopped(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	files, err := s.paths.place(r.document("two"))
	check(t, err)
	two := parseDocument(files, nil)
	st, _, err := s.stageAndCheck(t.Context(), two, true)
	check(t, err)
	defer st.Discard()
	r.stop(s)
	check(t, s.files.Acquire(t.Context(), 1))
	defer s.files.Release(1)
	s.change.Lock()
	defer s.change.Unlock()
	if _, err := s.commitAndReload(t.Context(), st, two, "reason"); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	r.wantOnDisk(one)
	r.wantServed("one")
}

func TestApply_MissingBaseFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	check(t, os.Remove(r.path("haproxy.base.cfg")))
	r.apply(s, r.document("two"), sdk.ActionReload)
	r.wantServed("two")
}
