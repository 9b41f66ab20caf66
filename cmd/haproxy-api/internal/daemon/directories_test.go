package daemon

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

// The built-in sinks write to these directories. The user's own command writes the pid file in its mode.
func TestSinkDirectories(t *testing.T) {
	cfg := &config.Config{
		Sinks: map[string]config.Component{
			"haproxy": {Type: "haproxy", Block: map[string]any{"config_file": "/a/h.cfg", "pid_file": "/b/h.pid"}},
			"command": {Type: "haproxy", Block: map[string]any{
				"config_file": "/c/h.cfg", "pid_file": "/d/h.pid", "reload_cmd": "x",
			}},
			"file":  {Type: "file", Block: map[string]any{"path": "/e/main"}},
			"kept":  {Type: "file", Block: map[string]any{"path": "/f/main"}},
			"third": {Type: "third", Block: map[string]any{"path": "/g/main"}},
		},
	}
	got := map[string]neededDirectory{}
	for _, directory := range sinkDirectories(cfg, func(name string) bool { return name == "kept" }) {
		got[directory.path] = directory
	}
	if len(got) != 5 {
		t.Errorf("directories %+v", got)
	}
	for path, key := range map[string]string{
		"/a": "haproxy.config_file", "/b": "haproxy.pid_file", "/c": "sinks.command.config_file", "/d": "sinks.command.pid_file",
		"/e": "sinks.file.path",
	} {
		d := got[path]
		if d.key != key || d.mode != fileDirectoryMode || d.others != (path == "/d") || d.beside != (path == "/b") {
			t.Errorf("%s: %+v, want key %s", path, d, key)
		}
	}
}

// A file that is mounted into a read-only directory can be written, and no socket can be made beside it.
func TestNeededDirectory_WritableFileInReadOnlyDirectory(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer mounttest.Bind(t, file)()
	defer mounttest.ReadOnly(t, dir)()
	for _, beside := range []bool{false, true} {
		_, err := neededDirectory{key: "haproxy.pid_file", file: file, path: dir, beside: beside}.check()
		if errors.Is(err, syscall.EROFS) != beside {
			t.Errorf("with files beside it (%v): %v", beside, err)
		}
	}
}

// The modes of new directories do not depend on the umask.
func TestNeededDirectory_CreatesParents(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	file := filepath.Join(t.TempDir(), "new", "deep", "main")
	directory := neededDirectory{key: "sinks.f.path", file: file, path: filepath.Dir(file), mode: fileDirectoryMode}
	if missing, err := directory.check(); err != nil || missing != filepath.Dir(directory.path) {
		t.Errorf("missing is %s, %v", missing, err)
	}
	if err := directory.createIfMissing(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{directory.path, filepath.Dir(directory.path)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != fileDirectoryMode {
			t.Errorf("%v, %v", info, err)
		}
	}
	if missing, err := directory.check(); err != nil || missing != "" {
		t.Errorf("missing is %s, %v", missing, err)
	}
}

// The daemon may have the capability to write to any directory, as with AmbientCapabilities= of systemd.
func TestNeededDirectory_CountsCapabilities(t *testing.T) {
	const variable = "TEST_NEEDED_DIRECTORY"
	if dir := os.Getenv(variable); dir != "" {
		if _, err := stateDirectory(dir).check(); err != nil {
			t.Error(err)
		}
		return
	}
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("the test needs root to run as another user")
	default:
		t.Skip("the test needs root to run as another user")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$") // other users may not reach the test binary by its path
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each cause has its own reason and remedy, and the error still wraps the cause.
func TestNeededDirectory_Fault(t *testing.T) {
	directory := neededDirectory{key: "haproxy.config_file", file: "/a/b/h.cfg", path: "/a/b"}
	remedies := map[string]error{}
	for _, cause := range []error{
		syscall.EACCES, syscall.EROFS, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ENOSPC, syscall.EIO,
	} {
		err := directory.fault("/a", &fs.PathError{Op: "mkdir", Path: "/a/b", Err: cause})
		if _, ok := errors.AsType[*ConfigError](err); !ok || !errors.Is(err, cause) {
			t.Errorf("%v: got %T", cause, err)
		}
		text := err.Error()
		if !strings.HasPrefix(text, "haproxy.config_file names /a/b/h.cfg, but ") || strings.Contains(text, "\n") {
			t.Errorf("%v: %s", cause, text)
		}
		remedy := text[strings.LastIndex(text, "; "):]
		if other, taken := remedies[remedy]; taken {
			t.Errorf("%v and %v have one remedy: %s", cause, other, remedy)
		}
		remedies[remedy] = cause
	}
}
