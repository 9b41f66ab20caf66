package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// Modes of new folders.
const (
	// fileFolderMode allows HAProxy, which may run as another user, to read its configuration, and nobody else to write it.
	fileFolderMode = 0o755
	stateDirMode   = 0o700
)

// A neededFolder is a folder that files are written to. A missing one is created, with its parents.
type neededFolder struct {
	key    string // the key that names it or a file in it
	file   string // the file; "" if the key names the folder
	path   string
	mode   fs.FileMode
	others bool // another program writes to it, perhaps as another user
}

// stateFolder returns the folder of the state store.
func stateFolder(dir string) neededFolder {
	return neededFolder{key: "haproxy_api.state_dir", path: dir, mode: stateDirMode}
}

// sinkFolders returns the folders that the built-in sinks write to. It skips sinks that are kept.
func sinkFolders(cfg *config.Config, isKept func(sink string) bool) []neededFolder {
	var all []neededFolder
	for _, name := range sortedKeys(cfg.Sinks) {
		if isKept(name) {
			continue
		}
		sink := cfg.Sinks[name]
		for _, f := range configuredFiles(cfg, sink) {
			all = append(all, neededFolder{
				key: tableOf("sinks", name) + "." + f.key, file: f.path, path: filepath.Dir(f.path), mode: fileFolderMode,
				others: f.key == "pid_file" && isCommandMode(sink),
			})
		}
	}
	return all
}

// isCommandMode reports whether the user's own command writes the pid file of a HAProxy sink.
func isCommandMode(sink config.Component) bool {
	command, _ := sink.Block["reload_cmd"].(string)
	return command != "" || sink.Block["mode"] == haproxy.ModeCommand
}

// checkForStart is check for the daemon. A file system that is read-only at a restart is no error if the file is there: servers
// can still be changed in the running HAProxy, and the file is written when that is possible.
func (f neededFolder) checkForStart(log *slog.Logger) error {
	_, err := f.check()
	if _, missing := os.Stat(f.file); f.file != "" && missing == nil && errors.Is(err, syscall.EROFS) {
		log.Warn("the file system is read-only", "error", err)
		return nil
	}
	return err
}

// createIfMissing creates the folder if it is missing. It returns a [*ConfigError] if that fails.
func (f neededFolder) createIfMissing(log *slog.Logger) error {
	missing, err := f.check()
	if missing == "" {
		return nil //nolint:nilerr // check has reported it, or it is no error
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.path, f.mode); err != nil {
		return f.fault(missing, err)
	}
	for dir := f.path; ; dir = filepath.Dir(dir) { // whatever the umask, as for files
		if err := os.Chmod(dir, f.mode); err != nil {
			return f.fault(dir, err)
		}
		if dir == missing {
			break
		}
	}
	log.Info("directory created", "file", f.path, "key", f.key)
	return nil
}

// check returns the topmost folder that has to be created, or "" if the folder exists. It returns a [*ConfigError] if it cannot
// be created or if no file can be written to it. It changes nothing.
func (f neededFolder) check() (missing string, err error) {
	existing := f.path
	for {
		info, err := os.Stat(existing)
		if isMissing(err) && existing != filepath.Dir(existing) {
			if _, err := os.Lstat(existing); err == nil {
				return "", f.fault(existing, errDangling)
			}
			missing, existing = existing, filepath.Dir(existing)
			continue
		}
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return "", f.fault(existing, err)
		}
		break
	}
	err = access(existing, unix.W_OK|unix.X_OK)
	switch {
	case err == nil:
		return missing, nil
	case missing == "" && f.others:
		return "", nil
	case missing == "" && f.file != "" && access(f.file, unix.W_OK) == nil:
		return "", nil // such as a file that is mounted into the folder; it is written in place
	}
	return "", f.fault(existing, err)
}

// access returns why this process has no such access to a path. Capabilities count, which access(2) ignores.
func access(path string, mode uint32) error {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}

// isMissing reports whether err is that of a path that does not exist. One below a file does not exist either.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

var errDangling = errors.New("it is a symbolic link to a path that does not exist")

// fault returns a [*ConfigError] that says why the folder cannot be used. err is the error of the folder at, which may be a
// parent.
func (f neededFolder) fault(at string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		at, err = pathError.Path, pathError.Err
	}
	var why, remedy string
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		why = fmt.Sprintf("user %s may not write to %s: %v", CurrentUser(), at, err)
		remedy = "give this user the permission, or name another path"
	case errors.Is(err, syscall.EROFS):
		why = fmt.Sprintf("%s is on a read-only file system", at)
		remedy = "mount it writable, or name another path"
	case errors.Is(err, syscall.ENOTDIR):
		why = fmt.Sprintf("%s is not a directory", at)
		remedy = "correct the path"
	case errors.Is(err, syscall.ENAMETOOLONG):
		why = "a name in it is too long"
		remedy = "name a shorter path"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		why = fmt.Sprintf("the directory %s cannot be created: %v", f.path, err)
		remedy = "free space there, or name another path"
	default:
		why = fmt.Sprintf("the directory %s cannot be used: %v", at, err)
		remedy = "create the directory, or name another path"
	}
	return &ConfigError{fmt.Errorf("%s names %s, but %w; %s", f.key, cmp.Or(f.file, f.path), &folderError{why, err}, remedy)}
}

// A folderError is the reason why a folder cannot be used.
type folderError struct {
	why   string
	cause error
}

func (e *folderError) Error() string { return e.why }
func (e *folderError) Unwrap() error { return e.cause }

// withReader adds the user to the error of a file that this user may not read.
func withReader(err error) error {
	if !errors.Is(err, syscall.EACCES) {
		return err
	}
	return fmt.Errorf("%w; user %s has to be able to read it", err, CurrentUser())
}

// CurrentUser returns the user of this process for a message, such as "haproxy (uid 107)".
func CurrentUser() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return fmt.Sprintf("%s (uid %s)", u.Username, id)
	}
	return "without a name (uid " + id + ")"
}
