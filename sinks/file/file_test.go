package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSink returns a sink for a file in a directory of its own; set changes its configuration.
func newSink(t *testing.T, path string, set func(*Config)) *Sink {
	t.Helper()
	cfg := Defaults()
	cfg.Path = path
	if set != nil {
		set(&cfg)
	}
	s, err := New(sdk.Env{Name: "file", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, cfg)
	check(t, err)
	return s
}

func document(contents ...string) sdk.Document {
	var files []sdk.File
	for i, content := range contents {
		files = append(files, sdk.File{Name: fmt.Sprintf("file%d", i), Content: []byte(content)})
	}
	return sdk.Document{Files: files, Digest: sdk.DigestOf(files)}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, s *Sink, doc sdk.Document, action string) {
	t.Helper()
	result, err := s.Apply(t.Context(), doc)
	check(t, err)
	if result.Action != action || result.Reason == "" {
		t.Fatalf("Apply did %q (%s), want %q", result.Action, result.Reason, action)
	}
}

func TestApply_Steps(t *testing.T) {
	s := newSink(t, filepath.Join(t.TempDir(), "x.conf"), func(c *Config) {
		c.CheckCmd, c.ReloadCmd = []string{"test", "-f", "{}"}, []string{"true"}
	})
	defer s.Close()
	result, err := s.Apply(t.Context(), document("one"))
	check(t, err)
	var names []string
	for _, step := range result.Steps {
		names = append(names, step.Name)
		if step.Start+step.Took > result.Took {
			t.Errorf("the step %+v is longer than the Apply, %v", step, result.Took)
		}
	}
	if got := strings.Join(names, " "); got != "check write reload" {
		t.Errorf("the steps are %q", got)
	}
}

// wantFiles checks that the directory has exactly these files, as NAME=CONTENT.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var got []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		check(t, err)
		if filepath.Ext(e.Name()) != ".applied" {
			got = append(got, e.Name()+"="+string(content))
		}
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("in the directory are %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("error %q lacks %q", err, word)
		}
	}
}

func problems(t *testing.T, s *Sink) string {
	t.Helper()
	h, err := s.Health(t.Context())
	check(t, err)
	return strings.Join(h.Problems, "; ")
}

func TestApply_WritesFiles(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, filepath.Join(dir, "main"), func(c *Config) { c.Mode = "0600" })
	if p := problems(t, s); !strings.Contains(p, "does not exist") {
		t.Errorf("before the first document the problems are %q", p)
	}
	apply(t, s, document("one", "beside"), sdk.ActionWritten)
	wantFiles(t, dir, "file1=beside", "main=one")
	apply(t, s, document("one", "beside"), sdk.ActionUnchanged)
	apply(t, s, document("one", "other"), sdk.ActionWritten)
	wantFiles(t, dir, "file1=other", "main=one")
	if info, err := os.Stat(filepath.Join(dir, "main")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if p := problems(t, s); p != "" {
		t.Errorf("the problems are %q", p)
	}
}

func TestApply_ReloadsOnce(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	set := func(c *Config) { c.ReloadCmd = []string{"sh", "-c", "cat {} >>" + log} }
	path := filepath.Join(dir, "main")
	s := newSink(t, path, set)
	apply(t, s, document("one."), sdk.ActionReload)
	apply(t, s, document("one."), sdk.ActionUnchanged)
	s = newSink(t, path, set) // as after a restart
	apply(t, s, document("one."), sdk.ActionUnchanged)
	apply(t, s, document("two."), sdk.ActionReload)
	check(t, os.Remove(path+".applied")) // as after a crash between writing and reloading
	apply(t, s, document("two."), sdk.ActionReload)
	if reloads, err := os.ReadFile(log); err != nil || string(reloads) != "one.two.two." {
		t.Errorf("the reload commands wrote %q, %v", reloads, err)
	}
}

func TestApply_FailedReloadRestoresFiles(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, filepath.Join(dir, "main"), func(c *Config) {
		c.ReloadCmd = []string{"sh", "-c", "if grep -q bad {}; then echo no such luck; exit 3; fi"}
	})
	_, err := s.Apply(t.Context(), document("bad", "beside"))
	wantError(t, err, "exit code 3", "no such luck")
	wantFiles(t, dir)
	apply(t, s, document("good"), sdk.ActionReload)
	_, err = s.Apply(t.Context(), document("bad", "beside"))
	wantError(t, err, "no such luck")
	if errors.Is(err, sdk.ErrRejected) {
		t.Error("a failed reload may go better the next time")
	}
	wantFiles(t, dir, "main=good")
	if p := problems(t, s); !strings.Contains(p, "no such luck") {
		t.Errorf("the problems are %q", p)
	}
	apply(t, s, document("better"), sdk.ActionReload)
	if p := problems(t, s); p != "" {
		t.Errorf("after a good reload the problems are %q", p)
	}
}

func TestApply_CheckCommand(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, filepath.Join(dir, "main"), func(c *Config) {
		c.CheckCmd = []string{"sh", "-c", "if grep -q bad {}; then echo bad word in {}; exit 1; fi"}
	})
	apply(t, s, document("good"), sdk.ActionWritten)
	for _, judge := range []func() error{
		func() error { return s.Check(t.Context(), document("bad")) },
		func() error { _, err := s.Apply(t.Context(), document("bad")); return err },
	} {
		err := judge()
		wantError(t, err, "bad word in "+filepath.Join(dir, "main"))
		if !errors.Is(err, sdk.ErrRejected) {
			t.Errorf("%v is no rejection", err)
		}
		wantFiles(t, dir, "main=good")
	}
	check(t, s.Check(t.Context(), document("fine")))
	wantFiles(t, dir, "main=good")
}

func TestApply_CommandsThatDoNotRun(t *testing.T) {
	dir := t.TempDir()
	missing := newSink(t, filepath.Join(dir, "main"), func(c *Config) { c.CheckCmd = []string{"no-such-program", "{}"} })
	slow := newSink(t, filepath.Join(dir, "main"), func(c *Config) {
		c.CheckCmd, c.Timeout = []string{"tail", "-f", "{}"}, time.Millisecond
	})
	for _, s := range []*Sink{missing, slow} {
		_, err := s.Apply(t.Context(), document("one"))
		wantError(t, err, "check_cmd")
		if errors.Is(err, sdk.ErrRejected) {
			t.Errorf("%v says nothing about the document", err)
		}
		wantFiles(t, dir)
	}
}

func TestApply_Cancelled(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, filepath.Join(dir, "main"), nil)
	cause := errors.New("a newer document came")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := s.Apply(ctx, document("one")); !errors.Is(err, cause) {
		t.Errorf("a cancelled Apply ended with %v", err)
	}
	wantFiles(t, dir)
}

func TestApply_MissingDirectory(t *testing.T) {
	s := newSink(t, filepath.Join(t.TempDir(), "not", "there"), nil)
	_, err := s.Apply(t.Context(), document("one"))
	wantError(t, err, filepath.Dir(s.cfg.Path), "no such file or directory")
}

func TestValidate(t *testing.T) {
	err := Config{Mode: "rw-r--r--", CheckCmd: []string{"true"}, ReloadCmd: []string{""}}.Validate()
	wantError(t, err, "path is missing", "mode must", "timeout must", "check_cmd does not contain {}", "reload_cmd begins with")
	cfg := Defaults()
	check(t, sdk.Decode(sdk.Block{
		"path": "/x", "mode": "0640", "check_cmd": []any{"c", "{}"}, "reload_cmd": []any{"r"}, "timeout": "1m",
	}, &cfg))
	if cfg.Path != "/x" || cfg.Mode != "0640" || len(cfg.CheckCmd) != 2 || len(cfg.ReloadCmd) != 1 || cfg.Timeout != time.Minute {
		t.Errorf("decoded %+v", cfg)
	}
}

// A program may have loaded the files although its command failed, so it is unknown whether it has the previous ones.
func TestApply_ReloadAfterAFailedOne(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	s := newSink(t, filepath.Join(dir, "file"), func(c *Config) {
		c.ReloadCmd = []string{"sh", "-c", "cp {} " + program + "; ! grep -q bad {}"}
	})
	apply(t, s, document("good"), sdk.ActionReload)
	_, err := s.Apply(t.Context(), document("bad"))
	wantError(t, err)
	apply(t, s, document("good"), sdk.ActionReload)
	if got, err := os.ReadFile(program); err != nil || string(got) != "good" {
		t.Errorf("the program has %q, %v", got, err)
	}
	apply(t, s, document("good"), sdk.ActionUnchanged)
}

func TestStop_KillsARunningReload(t *testing.T) {
	dir := t.TempDir()
	cfg := Defaults()
	cfg.Path, cfg.Timeout = filepath.Join(dir, "out"), time.Hour
	cfg.ReloadCmd = []string{"sh", "-c", "touch " + filepath.Join(dir, "runs") + "; sleep 1000"}
	s, err := New(sdk.Env{Name: "out"}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	files := []sdk.File{{Name: "out", Content: []byte("new")}}
	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan error)
	go func() {
		_, err := s.Apply(ctx, sdk.Document{Digest: sdk.DigestOf(files), Files: files})
		applied <- err
	}()
	for !exists(filepath.Join(dir, "runs")) {
		time.Sleep(time.Millisecond)
	}
	cancel() // does not kill the command
	select {
	case err := <-applied:
		t.Fatalf("ended with its context: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	if exists(cfg.Path) {
		t.Error("the file that nobody has loaded is still in place")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
