package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestApply_Companions(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	routes := r.path("routes.map")
	config := string(r.document("map").Files[0].Content)
	config = strings.Replace(config, "X-Is map", "X-Is %[str(k),map("+routes+")]", 1)
	with := func(value string) sdk.Document {
		return documentOf(config, sdk.File{Name: "routes.map", Content: []byte("k " + value + "\n")})
	}
	check(t, s.Check(t.Context(), with("one")))
	r.wantTidy()
	if _, err := os.Stat(routes); err == nil {
		t.Fatal("Check placed a companion")
	}
	r.apply(s, with("one"), sdk.ActionRestart)
	r.wantServed("one")
	result := r.apply(s, with("two"), sdk.ActionReload)
	if !strings.Contains(result.Reason, "routes.map") {
		t.Errorf("reason %q does not name the file", result.Reason)
	}
	r.wantServed("two")
	r.apply(s, with("two"), sdk.ActionUnchanged)

	bad := edited(with("three"), "frontend web", "bogus\nfrontend web")
	if _, err := s.Apply(t.Context(), bad); !errors.Is(err, sdk.ErrRejected) {
		t.Fatalf("a bad main file beside a companion: %v", err)
	}
	if content, err := os.ReadFile(routes); err != nil || string(content) != "k two\n" {
		t.Errorf("the companion of a rejected document was placed: %q, %v", content, err)
	}
	r.wantTidy()
}

func TestApply_CompanionNames(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	for _, name := range []string{
		"", ".", "..", "../x", "/", "/etc/x", "a/b", ".hidden", "a\x00b",
		"haproxy.cfg", "haproxy.pid", "haproxy.master.sock", "haproxy.cfg.applied",
	} {
		err := s.Check(t.Context(), documentOf("global\n", sdk.File{Name: name}))
		if !errors.Is(err, sdk.ErrRejected) {
			t.Errorf("the companion name %q: %v, want a rejection", name, err)
		}
	}
	twice := documentOf("global\n", sdk.File{Name: "a"}, sdk.File{Name: "a"})
	if err := s.Check(t.Context(), twice); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("two companions of one name: %v", err)
	}
	if err := s.Check(t.Context(), sdk.Document{}); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a document without files: %v", err)
	}
}

func TestCheck_ChangesNothing(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	check(t, s.Check(t.Context(), r.document("one")))
	if err := s.Check(t.Context(), r.document("one", "bogus")); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a bad document: %v", err)
	}
	entries, err := os.ReadDir(r.dir)
	check(t, err)
	if len(entries) > 0 {
		t.Errorf("Check left %v", entries)
	}
}

func TestCheck_MissingDirectory(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.ConfigFile = filepath.Join(r.dir, "not", "there", "haproxy.cfg")
	s := r.sink()
	check(t, s.Check(t.Context(), r.document("one")))
	_, err := s.Apply(t.Context(), r.document("one"))
	wantError(t, err, filepath.Dir(r.cfg.ConfigFile), "no such file or directory")
	if strings.Contains(err.Error(), "/.haproxy") {
		t.Errorf("the error shows a temporary name: %v", err)
	}
}

func TestApply_CancelledDuringTheCheck(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	gate := r.path("gate")
	check(t, syscall.Mkfifo(gate, 0o600))
	r.cfg.VerifyCmd = fmt.Sprintf("if grep -q slow %s; then cat %s; fi", r.cfg.ConfigFile, gate)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)

	cause := errors.New("a newer document came")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Apply(ctx, r.document("slow"))
		ended <- err
	}()
	eventually(t, "the check runs", func() bool { return len(processesOn(t, r.dir)) > 2 })
	wantHealthy(t, s)
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) || errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a cancelled Apply ended with %v", err)
	}
	r.wantServed("one")
	r.wantOnDisk(one)
	r.wantTidy()
}

// A name server may be unavailable for a moment, which is no fault of the document.
func TestApply_UnknownHostnameIsRetried(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	doc := edited(r.document("one"), "server s1 "+r.backend, "server s1 node-1.invalid:80")
	_, err := s.Apply(t.Context(), doc)
	wantError(t, err, "node-1.invalid")
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || retry.After != resolveAgain || errors.Is(err, sdk.ErrRejected) {
		t.Errorf("it is taken for a final rejection: %v", err)
	}
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) != 1 || rejection.Positions[0].Line != 13 {
		t.Errorf("it does not tell the place: %v", err)
	}
	r.wantTidy()
}
