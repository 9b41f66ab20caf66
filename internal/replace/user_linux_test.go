package replace

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

func setgroups(ids []uint32) syscall.Errno {
	var first uintptr
	if len(ids) > 0 {
		first = uintptr(unsafe.Pointer(&ids[0]))
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(ids)), first, 0)
	return errno
}

// freeze makes the file immutable until the returned function is called; it returns nil if the file system does not support that.
func freeze(t *testing.T, path string) (thaw func()) {
	t.Helper()
	set := func(flags uint32) syscall.Errno {
		f, err := os.Open(path)
		check(t, err)
		defer f.Close()
		const setFlags = 0x40086602 // FS_IOC_SETFLAGS
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), setFlags, uintptr(unsafe.Pointer(&flags)))
		return errno
	}
	const immutable = 0x10
	if set(immutable) != 0 {
		return nil
	}
	return func() { set(0) }
}

// The daemon runs as user 1000 of group 1000, and HAProxy as user or group 2000.
func TestFile_OwnerCannotBeKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can act as another user")
		return
	}
	for name, test := range map[string]struct {
		uid, gid int
		mode     os.FileMode
		groups   []int
		inPlace  bool
		fails    bool
	}{
		"readable by all":            {uid: 0, gid: 0, mode: 0o644},
		"root's, our group":          {uid: 0, gid: 1000, mode: 0o660},
		"root's, another group":      {uid: 0, gid: 3000, mode: 0o640, groups: []int{3000}},
		"HAProxy's group":            {uid: 0, gid: 2000, mode: 0o640, fails: true}, // its previous content cannot be kept
		"HAProxy's, writable":        {uid: 2000, gid: 1000, mode: 0o660, inPlace: true},
		"HAProxy's and only its own": {uid: 2000, gid: 1000, mode: 0o600, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.Chmod(filepath.Dir(dir), 0o755))
			check(t, os.Chown(dir, 1000, 1000))
			path := filepath.Join(dir, "file")
			write(t, path, "old")
			check(t, os.Chown(path, test.uid, test.gid))
			check(t, os.Chmod(path, test.mode))
			before, err := os.Stat(path)
			check(t, err)
			asUser(t, 1000, 1000, test.groups, func() {
				if err := Write(path, []byte("new"), Options{}); (err != nil) != test.fails {
					t.Error(err)
				}
			})
			wantNames(t, dir, "file")
			if test.fails {
				wantContent(t, path, "old")
				return
			}
			wantContent(t, path, "new")
			after, err := os.Stat(path)
			check(t, err)
			if os.SameFile(before, after) != test.inPlace || after.Mode() != before.Mode() {
				t.Errorf("in place: %v; the mode is %v and was %v", !test.inPlace, after.Mode(), before.Mode())
			}
			if is := after.Sys().(*syscall.Stat_t); len(test.groups) > 0 && int(is.Gid) != test.gid {
				t.Errorf("the group is %d, want %d", is.Gid, test.gid)
			}
		})
	}
}

// If the user can write the file but not its directory, it is written in place.
func TestFile_DirectoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can act as another user")
		return
	}
	temp := privateTemp(t)
	check(t, os.Chmod(temp, 0o777))
	check(t, os.Chmod(filepath.Dir(temp), 0o755))
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	check(t, os.Chown(path, 0, 1000))
	check(t, os.Chmod(path, 0o664))
	asUser(t, 1000, 1000, nil, func() {
		f, err := New(path, []byte("new"), Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Discard()
		for _, do := range []func() error{f.Commit, f.Restore, f.Commit} {
			if err := do(); err != nil {
				t.Error(err)
			}
		}
	})
	wantContent(t, path, "new")
	wantNames(t, dir, "file")
}
