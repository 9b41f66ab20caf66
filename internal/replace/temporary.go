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
	// longestBase leaves room in a name, which may have 255 bytes.
	longestBase = 180
	// checkSuffix is what the owner of files that are only to be checked has behind that of the others: a process that replaces
	// nothing may check beside the one that does.
	checkSuffix = "\x00check"
	// checkAge is how old files are that were only to be checked and that no check needs any more.
	checkAge = time.Hour
)

// temporaryOwner is the owner that the temporary files are marked with.
func (o Options) temporaryOwner() string {
	if o.Check {
		return o.Owner + checkSuffix
	}
	return o.Owner
}

// mark is in the name of each temporary file of owner.
func mark(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return ".tmp-" + hex.EncodeToString(sum[:6]) + "-"
}

// create writes the content to a new file in folder with the attributes that the target has, or is to have. inPlace says why
// that file had better not be renamed over the target, which can be written. Nothing is left beside an error.
func (f *File) create(folder string) (name string, inPlace, err error) {
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
	file, err := f.open(folder, created)
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

func (f *File) open(folder string, mode fs.FileMode) (*os.File, error) {
	base := filepath.Base(f.target)
	prefix := filepath.Join(folder, "."+base[:min(len(base), longestBase)]+mark(f.options.temporaryOwner()))
	const tries = 100
	for try := 1; ; try++ {
		name := prefix + strconv.FormatUint(rand.Uint64(), 10) //nolint:gosec // O_EXCL makes it safe to guess
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) || try == tries {
			return file, err
		}
	}
}

// errUnreadable says that a new file would have an owner or a group by which somebody could no longer read it.
var errUnreadable = errors.New("its owner or group cannot be given to a new file")

// keepAttributes gives file what the target has besides its content and mode, as far as we may. It returns errUnreadable where
// somebody who can read the target could not read the file.
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

// MakeFolder makes a private folder for temporary files, which [RemoveTemporary] of that owner removes if nobody else does.
func MakeFolder(owner string) (string, error) {
	return os.MkdirTemp("", folderPrefix(owner))
}

func folderPrefix(owner string) string { return "haproxy-api" + mark(owner) }

// RemoveTemporary removes what a crash has left of the owner's temporary files beside the files at paths, and of its private
// folders. What cannot be removed yet is tried again by [New]. Nothing may be pending for that owner meanwhile, except what is
// only to be checked (see [Options]): of that only what is older than an hour is removed.
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
	for folder := range seen {
		removeIn(folder, age, func(name string) bool {
			return strings.HasPrefix(name, ".") && strings.Contains(name, mark(owner))
		})
	}
	removeIn(os.TempDir(), age, func(name string) bool { return strings.HasPrefix(name, folderPrefix(owner)) })
}

func removeIn(folder string, age time.Duration, is func(name string) bool) {
	entries, err := os.ReadDir(folder)
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
			continue // somebody else's, in a folder where everybody may make one
		}
		leftovers.remove(filepath.Join(folder, e.Name()))
	}
}

// leftovers are the temporary files and folders that could not be removed, as from a folder that has become read-only. [New]
// tries again.
var leftovers = &removals{paths: map[string]bool{}}

type removals struct {
	mu    sync.Mutex
	paths map[string]bool
}

// remove removes the file, or the folder with all that is in it, now or later.
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
