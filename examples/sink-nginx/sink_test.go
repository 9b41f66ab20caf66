package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestApply(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	b.applied(s, document(b.conf("one", "")), sdk.ActionRestart)
	b.answers("one")
	master, workers := s.nginx.master(), s.nginx.workers(s.nginx.master())

	b.applied(s, document(b.conf("one", "")), sdk.ActionUnchanged)
	if now := s.nginx.workers(master); len(now) != 2 || now[0] != workers[0] {
		t.Errorf("workers were %v and are %v after an unchanged document", workers, now)
	}
	b.applied(s, document(b.conf("two", "")), sdk.ActionReload)
	b.answers("two")
	if now := s.nginx.master(); now != master {
		t.Errorf("the master was %d and is %d after a reload", master, now)
	}
	entries, _ := filepath.Glob(filepath.Join(filepath.Dir(b.cfg.ConfigFile), ".*"))
	if len(entries) > 0 {
		t.Errorf("left behind: %q", entries)
	}
}

func TestApply_Rejections(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	b.applied(s, document(b.conf("good", "")), sdk.ActionRestart)
	for name, test := range map[string]struct {
		doc  sdk.Document
		want string
	}{
		"a directive that there is not": {
			document(b.conf("bad", "nonsense;")), `unknown directive "nonsense" in ` + b.cfg.ConfigFile + ":15",
		},
		"a pid file of its own": {document("pid x;" + b.conf("bad", "")), `"pid" directive is duplicate`},
		"the foreground":        {document("daemon off;" + b.conf("bad", "")), `"daemon" directive is duplicate`},
		"a companion": {
			document(b.conf("bad", "include routes.conf;"), sdk.File{Name: "routes.conf", Content: []byte("\nnonsense;")}),
			filepath.Join(filepath.Dir(b.cfg.ConfigFile), "routes.conf") + ":2",
		},
		"no file at all":     {sdk.Document{}, "no file"},
		"a path":             {document(b.conf("bad", ""), sdk.File{Name: "../routes.conf"}), `"../routes.conf"`},
		"a hidden name":      {document(b.conf("bad", ""), sdk.File{Name: ".nginx.conf.doubt"}), "plain name"},
		"the main name":      {document(b.conf("bad", ""), sdk.File{Name: "nginx.conf"}), "taken"},
		"the pid file":       {document(b.conf("bad", ""), sdk.File{Name: "nginx.pid"}), "taken"},
		"no name":            {document(b.conf("bad", ""), sdk.File{}), "plain name"},
		"the directory name": {document(b.conf("bad", ""), sdk.File{Name: "."}), "plain name"},
	} {
		t.Run(name, func(t *testing.T) {
			for do, try := range map[string]func() error{
				"Apply": func() error { _, err := s.Apply(t.Context(), test.doc); return err },
				"Check": func() error { return s.Check(t.Context(), test.doc) },
			} {
				err := try()
				if !errors.Is(err, sdk.ErrRejected) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want a rejection with %s", do, err, test.want)
				}
			}
		})
	}
	b.answers("good")
	b.applied(s, document(b.conf("good", "")), sdk.ActionUnchanged)
}

func TestApply_Companions(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	directory := filepath.Dir(b.cfg.ConfigFile)
	// A file of the user in the directory, which the document includes too.
	if err := os.WriteFile(filepath.Join(directory, "types.conf"), []byte("types { text/html html; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	main := strings.Replace(b.conf("", "include types.conf;"), `return 200 ""`, "include answer.conf", 1)
	answer := func(text string) sdk.File {
		return sdk.File{Name: "answer.conf", Content: []byte("return 200 " + text + ";")}
	}
	b.applied(s, document(main, answer("one")), sdk.ActionRestart)
	b.answers("one")
	b.applied(s, document(main, answer("two")), sdk.ActionReload)
	b.answers("two")
	if _, err := s.Apply(t.Context(), document(main, answer("three; nonsense"))); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
	b.answers("two")
	b.applied(s, document(main, answer("two")), sdk.ActionUnchanged)
}

func TestApply_KeepsPermissions(t *testing.T) {
	b := newTestEnv(t)
	if err := os.WriteFile(b.cfg.ConfigFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.applied(b.sink(), document(b.conf("one", "")), sdk.ActionRestart)
	if info, err := os.Stat(b.cfg.ConfigFile); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
}

// nginx -t accepts a port in use, since that is usually nginx's own; only the reload fails.
func TestApply_RestoresWhatNginxCannotLoad(t *testing.T) {
	b := newTestEnv(t)
	b.applied(b.sink(), document(b.conf("old", "")), sdk.ActionRestart)
	b.cfg.ReloadTimeout = 10 * time.Second // nginx tries for 2.5
	s := b.sink()
	other := listen(t, freeAddress(t))
	doc := document(b.conf("new", "server { listen "+other.Addr().String()+"; }"))

	result, err := s.Apply(t.Context(), doc)
	if err == nil || errors.Is(err, sdk.ErrRejected) || !strings.Contains(err.Error(), "no new workers") {
		t.Errorf("got %v, want an error that is tried again", err)
	}
	if !strings.Contains(strings.Join(result.Details, "\n"), "Address already in use") {
		t.Errorf("nginx's messages are not among the details: %q", result.Details)
	}
	b.answers("old")
	if b.live() != b.conf("old", "") {
		t.Errorf("the file is\n%s", b.live())
	}
	b.applied(s, document(b.conf("old", "")), sdk.ActionUnchanged)

	other.Close()
	b.applied(s, doc, sdk.ActionReload)
	b.answers("new")
}

func TestApply_FirstDocumentCannotStart(t *testing.T) {
	b := newTestEnv(t)
	other := listen(t, b.address)
	s := b.sink()
	_, err := s.Apply(t.Context(), document(b.conf("one", "")))
	if err == nil || errors.Is(err, sdk.ErrRejected) || strings.Count(err.Error(), "Address already in use") != 1 {
		t.Errorf("got %v, want nginx's message once", err)
	}
	if b.live() != "" || s.nginx.master() != 0 {
		t.Errorf("left: process %d and file %q", s.nginx.master(), b.live())
	}
	other.Close()
	b.applied(s, document(b.conf("one", "")), sdk.ActionRestart)
	b.answers("one")
}

func TestApply_AfterKillBeforeTheReload(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	b.applied(s, document(b.conf("old", "")), sdk.ActionRestart)
	doc := document(b.conf("new", ""))
	files, err := filesOf(b.cfg, doc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(stageDir(b.cfg), b.cfg, files)
	if err == nil {
		err = st.commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	b.answers("old")
	if _, err := b.sink().Apply(t.Context(), document("nonsense;")); !errors.Is(err, sdk.ErrRejected) {
		t.Error(err)
	}
	b.applied(b.sink(), doc, sdk.ActionReload)
	b.answers("new")
	b.applied(b.sink(), doc, sdk.ActionUnchanged)
}

func TestStage_FailedCommitIsReverted(t *testing.T) {
	b := newTestEnv(t)
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(filepath.Dir(b.cfg.ConfigFile), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nginx.conf", "main")
	write("b.conf", "b")
	companions := []sdk.File{{Name: "a.conf"}, {Name: "b.conf"}, {Name: "c.conf"}}
	files, err := filesOf(b.cfg, document("new main", companions...))
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(stageDir(b.cfg), b.cfg, files)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(st.newPath("b.conf")); err != nil { // so that renaming it fails
		t.Fatal(err)
	}
	if err := st.commit(); err == nil {
		t.Fatal("nothing failed")
	}
	st.discard()
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(b.cfg.ConfigFile), "*.conf"))
	if len(names) != 2 || b.live() != "main" {
		t.Errorf("left are %q, and the main file is %q", names, b.live())
	}
}

func TestApply_Cancelled(t *testing.T) {
	b := newTestEnv(t)
	started := filepath.Join(t.TempDir(), "started")
	b.cfg.Binary = b.program(": >" + started + "\nexec sleep 100")
	newer := errors.New("a newer document")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(started); err == nil || ctx.Err() != nil {
				cancel(newer)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := b.sink().Apply(ctx, document(b.conf("one", "")))
	if !errors.Is(err, newer) || errors.Is(err, sdk.ErrRejected) || b.live() != "" {
		t.Errorf("got %v and the file %q", err, b.live())
	}

	b.cfg.CheckTimeout = 10 * time.Millisecond
	_, err = b.sink().Apply(t.Context(), document(b.conf("one", "")))
	if err == nil || errors.Is(err, sdk.ErrRejected) || !strings.Contains(err.Error(), "check_timeout") {
		t.Errorf("got %v, want one that names check_timeout", err)
	}
}

func TestApply_FaultyProgramIsNoRejection(t *testing.T) {
	b := newTestEnv(t)
	killed := b.program("kill -9 $$")
	for _, binary := range []string{"/nowhere/nginx", killed} {
		b.cfg.Binary = binary
		_, err := b.sink().Apply(t.Context(), document(b.conf("one", "")))
		if err == nil || errors.Is(err, sdk.ErrRejected) || !strings.Contains(err.Error(), binary) {
			t.Errorf("%s: got %v", binary, err)
		}
	}
}

// program writes a shell script that replaces nginx.
func (b *testEnv) program(script string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		b.Fatal(err)
	}
	return path
}

func TestCheck_ChangesNothing(t *testing.T) {
	b := newTestEnv(t)
	if err := b.sink().Check(t.Context(), document(b.conf("one", ""))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.cfg.PidFile); b.live() != "" || !os.IsNotExist(err) {
		t.Errorf("the file is %q, the pid file %v", b.live(), err)
	}
}

// The name of the marker is the same in every release: an update of the plugin finds the one of the plugin that was killed.
func TestApply_AfterAKilledPlugin(t *testing.T) {
	b := newTestEnv(t)
	s := b.sink()
	doc := document(b.conf("good", ""))
	b.applied(s, doc, sdk.ActionRestart)
	b.applied(s, doc, sdk.ActionUnchanged)
	marker := filepath.Join(filepath.Dir(b.cfg.ConfigFile), ".nginx.conf.doubt")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.applied(s, doc, sdk.ActionReload)
	if _, err := os.Lstat(marker); !os.IsNotExist(err) {
		t.Errorf("the marker after the reload: %v", err)
	}
	b.applied(s, doc, sdk.ActionUnchanged)
}
