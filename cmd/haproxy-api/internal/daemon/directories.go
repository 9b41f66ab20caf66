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

// Modes of new directories.
const (
	// fileDirectoryMode allows HAProxy, which may run as another user, to read its configuration, and nobody else to write it.
	fileDirectoryMode = 0o755
	stateDirMode      = 0o700
)

// A neededDirectory is a directory that files are written to. A missing one is created, with its parents.
type neededDirectory struct {
	key    string // the key that names it or a file in it
	file   string // the file; "" if the key names the directory
	path   string
	mode   fs.FileMode
	others bool // another program writes to it, perhaps as another user
	beside bool // further files are made beside the file, so that access to the file is not enough
}

// stateDirectory returns the directory of the state store.
func stateDirectory(dir string) neededDirectory {
	return neededDirectory{key: "haproxy_api.state_dir", path: dir, mode: stateDirMode}
}

// sinkDirectories returns the directories that the built-in sinks write to. It skips sinks that are kept.
func sinkDirectories(cfg *config.Config, isKept func(sink string) bool) []neededDirectory {
	var all []neededDirectory
	for _, name := range sortedKeys(cfg.Sinks) {
		if isKept(name) {
			continue
		}
		sink := cfg.Sinks[name]
		for _, f := range configuredFiles(cfg, sink) {
			pidFile := f.key == "pid_file"
			all = append(all, neededDirectory{
				key: tableOf("sinks", name) + "." + f.key, file: f.path, path: filepath.Dir(f.path), mode: fileDirectoryMode,
				others: pidFile && isCommandMode(sink), beside: pidFile && !isCommandMode(sink), // HAProxy's sockets
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
func (d neededDirectory) checkForStart(log *slog.Logger) error {
	_, err := d.check()
	if _, missing := os.Stat(d.file); d.file != "" && missing == nil && errors.Is(err, syscall.EROFS) {
		log.Warn("the file system is read-only", "error", err)
		return nil
	}
	return err
}

// createIfMissing creates the directory if it is missing. It returns a [*ConfigError] if that fails.
func (d neededDirectory) createIfMissing(log *slog.Logger) error {
	missing, err := d.check()
	if missing == "" {
		return nil //nolint:nilerr // check has reported it, or it is no error
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.path, d.mode); err != nil {
		return d.fault(missing, err)
	}
	for dir := d.path; ; dir = filepath.Dir(dir) { // whatever the umask, as for files
		if err := os.Chmod(dir, d.mode); err != nil {
			return d.fault(dir, err)
		}
		if dir == missing {
			break
		}
	}
	log.Info("directory created", "file", d.path, "key", d.key)
	return nil
}

// check returns the topmost directory that has to be created, or "" if the directory exists. It returns a [*ConfigError] if it
// cannot be created or if no file can be written to it. It changes nothing.
func (d neededDirectory) check() (missing string, err error) {
	existing := d.path
	for {
		info, err := os.Stat(existing)
		if isMissing(err) && existing != filepath.Dir(existing) {
			if _, err := os.Lstat(existing); err == nil {
				return "", d.fault(existing, errDangling)
			}
			missing, existing = existing, filepath.Dir(existing)
			continue
		}
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return "", d.fault(existing, err)
		}
		break
	}
	err = access(existing, unix.W_OK|unix.X_OK)
	switch {
	case err == nil:
		return missing, nil
	case missing == "" && d.others:
		return "", nil
	case missing == "" && d.file != "" && !d.beside && access(d.file, unix.W_OK) == nil:
		return "", nil // such as a file that is mounted into the directory; it is written in place
	}
	return "", d.fault(existing, err)
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

// fault returns a [*ConfigError] that says why the directory cannot be used. err is the error of the directory at, which may be a
// parent.
func (d neededDirectory) fault(at string, err error) error {
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
		why = fmt.Sprintf("the directory %s cannot be created: %v", d.path, err)
		remedy = "free space there, or name another path"
	default:
		why = fmt.Sprintf("the directory %s cannot be used: %v", at, err)
		remedy = "create the directory, or name another path"
	}
	return &ConfigError{fmt.Errorf("%s names %s, but %w; %s", d.key, cmp.Or(d.file, d.path), &directoryError{why, err}, remedy)}
}

// A directoryError is the reason why a directory cannot be used.
type directoryError struct {
	why   string
	cause error
}

func (e *directoryError) Error() string { return e.why }
func (e *directoryError) Unwrap() error { return e.cause }

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
