package replace

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	backupSuffix = "-old"
	// maxBase bounds the part of the target's name in a temporary name, which may have 255 bytes.
	maxBase = 180
	// checkSuffix distinguishes files for checks from the owner's others, since another process may check at the same time.
	checkSuffix = "\x00check"
	// checkAge is the age from which files for checks are no longer in use.
	checkAge = time.Hour
)

// temporaryOwner returns the owner in the names of the temporary files.
func (o Options) temporaryOwner() string {
	if o.Check {
		return o.Owner + checkSuffix
	}
	return o.Owner
}

// mark returns the part of a name that identifies temporary files of owner.
func mark(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return ".tmp-" + hex.EncodeToString(sum[:6]) + "-"
}

// create writes the content to a new file in directory with the attributes that the target has or is to have. inPlace is a reason
// to write the target in place instead of a rename, and nil without one. create leaves nothing behind when it fails.
func (f *File) create(directory string) (name string, inPlace, err error) {
	info, err := os.Stat(f.target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	mode, created := f.options.Mode, fs.FileMode(0o600)
	switch {
	case mode != 0:
	case info != nil:
		mode = info.Mode().Perm()
	case f.options.New != 0:
		mode = f.options.New
	default:
		created = 0o644
	}
	file, err := f.open(directory, created)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = file.Close() }()
	if info != nil {
		inPlace = keepAttributes(f.target, info, file)
	}
	if mode != 0 {
		err = file.Chmod(mode)
	}
	if err == nil {
		_, err = file.Write(f.content)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		leftovers.remove(file.Name())
		return "", nil, err
	}
	if inPlace != nil && writable(f.target) != nil {
		inPlace = nil
	}
	return file.Name(), inPlace, nil
}

func (f *File) open(directory string, mode fs.FileMode) (*os.File, error) {
	base := filepath.Base(f.target)
	prefix := filepath.Join(directory, "."+base[:min(len(base), maxBase)]+mark(f.options.temporaryOwner()))
	const tries = 100
	for try := 1; ; try++ {
		name := prefix + strconv.FormatUint(rand.Uint64(), 10) //nolint:gosec // O_EXCL makes it safe to guess
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) || try == tries {
			return file, err
		}
	}
}

// errUnreadable means that a user who can read the target could not read a new file.
var errUnreadable = errors.New("a new file cannot have the same owner or group")

// keepAttributes copies the owner, group and extended attributes of the target to file, as far as permissions allow. It returns
// errUnreadable if a user who can read the target could not read the file.
func keepAttributes(target string, info fs.FileInfo, file *os.File) error {
	copyExtended(target, file.Name())
	was, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	uid, gid := int(was.Uid), int(was.Gid)
	if file.Chown(uid, gid) == nil {
		return nil
	}
	keepsGroup := file.Chown(-1, gid) == nil
	const ownerReads, groupReads, othersRead = 0o400, 0o040, 0o004
	perm := info.Mode().Perm()
	switch {
	case perm&othersRead != 0:
	case uid != 0 && uid != os.Geteuid() && perm&ownerReads != 0, // root reads everything
		!keepsGroup && perm&groupReads != 0:
		return errUnreadable
	}
	return nil
}

// MakeDirectory creates a private directory for temporary files. [RemoveTemporary] for that owner removes it if the caller does
// not.
func MakeDirectory(owner string) (string, error) {
	return os.MkdirTemp("", directoryPrefix(owner))
}

func directoryPrefix(owner string) string { return "haproxy-api" + mark(owner) }

// RemoveTemporary removes the temporary files of the owner that a crash has left beside the files at paths, and its private
// directories. [New] retries what cannot be removed. There must be no pending [File] of that owner, except for checks (see
// [Options]): files of checks are removed only after an hour.
func RemoveTemporary(owner string, paths ...string) {
	removeOlder(0, owner, paths)
	removeOlder(checkAge, owner+checkSuffix, paths)
}

func removeOlder(age time.Duration, owner string, paths []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		seen[filepath.Dir(path)] = true
		if target, err := Resolve(path); err == nil {
			seen[filepath.Dir(target)] = true
		}
	}
	for directory := range seen {
		removeIn(directory, age, func(name string) bool {
			return strings.HasPrefix(name, ".") && strings.Contains(name, mark(owner))
		})
	}
	removeIn(os.TempDir(), age, func(name string) bool { return strings.HasPrefix(name, directoryPrefix(owner)) })
}

func removeIn(directory string, age time.Duration, is func(name string) bool) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return // the next write there reports the error
	}
	for _, e := range entries {
		if !is(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || age > 0 && time.Since(info.ModTime()) < age {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() && e.IsDir() {
			continue // of another user, in a directory where every user may create one
		}
		leftovers.remove(filepath.Join(directory, e.Name()))
	}
}

// leftovers are temporary files and directories that could not be removed, as from a directory that has become read-only. [New]
// retries.
var leftovers = &removals{paths: map[string]bool{}}

type removals struct {
	mu    sync.Mutex
	paths map[string]bool
}

// remove removes the file or the directory with its content, and remembers it if that fails.
func (r *removals) remove(path string) {
	err := os.RemoveAll(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.paths[path] = true
	} else {
		delete(r.paths, path)
	}
}

func (r *removals) retry() {
	r.mu.Lock()
	paths := slices.Collect(maps.Keys(r.paths))
	r.mu.Unlock()
	for _, path := range paths {
		r.remove(path)
	}
}
