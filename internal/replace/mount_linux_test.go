package replace

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

func TestFile_MountPoint(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	privateTemp(t)
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "link")
	check(t, os.WriteFile(path, []byte("old content"), 0o640))
	check(t, os.Symlink(path, link))
	defer mounttest.Bind(t, path)()
	for _, content := range []string{"new", "a content that is longer than the old content", ""} {
		for _, name := range []string{path, link} {
			f := newFile(t, name, content, Options{Mode: 0o604})
			check(t, f.Commit())
			check(t, f.Sync())
			wantContent(t, path, content)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
				t.Errorf("the mode is %v, %v", info.Mode(), err)
			}
			check(t, f.Restore())
			f.Discard()
			wantContent(t, path, "old content")
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("the mode is %v, %v", info.Mode(), err)
			}
		}
	}
	wantNames(t, dir, "file")
	check(t, Remove(path))
	wantContent(t, path, "")
}

func TestFile_BecomesMountPoint(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	f := newFile(t, path, "new", Options{})
	check(t, f.Commit())
	defer mounttest.Bind(t, path)()
	check(t, f.Restore())
	f.Discard()
	wantContent(t, path, "old")
	wantNames(t, dir, "file")
}

func TestFile_ReadOnlyDirectory(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	privateTemp(t)
	dir := t.TempDir()
	mounted, plain := filepath.Join(dir, "mounted"), filepath.Join(dir, "plain")
	write(t, mounted, "old")
	write(t, plain, "old")
	defer mounttest.Bind(t, mounted)()
	defer mounttest.ReadOnly(t, dir)()
	f := newFile(t, mounted, "new", Options{})
	wantContent(t, f.Name(), "new")
	check(t, f.Commit())
	check(t, f.Sync())
	wantContent(t, mounted, "new")
	check(t, f.Restore())
	wantContent(t, mounted, "old")
	f.Discard()
	for _, path := range []string{plain, filepath.Join(dir, "missing")} {
		if _, err := New(path, nil, Options{}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("replacing %s: %v", path, err)
		}
	}
	newFile(t, plain, "new", Options{Check: true}).Discard()
	check(t, Remove(filepath.Join(dir, "missing")))
	wantNames(t, dir, "mounted", "plain")
}

// Files that could not be removed from a read-only directory are removed later.
func TestDiscard_ReadOnlyDirectory(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	f := newFile(t, path, "new", Options{})
	check(t, f.Commit())
	left, err := New(path, nil, Options{Owner: "killed"})
	check(t, err)
	undo := mounttest.ReadOnly(t, dir)
	if err := f.Restore(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("it was restored with %v", err)
	}
	f.Discard()
	RemoveTemporary("killed", path)
	undo()
	if _, err := os.Stat(left.Name()); err != nil {
		t.Error(err)
	}
	check(t, Write(path, []byte("newer"), Options{}))
	wantContent(t, path, "newer")
	wantNames(t, dir, "file")
}

// A mount point on a disk without space for the new content keeps the previous content.
func TestFile_MountPointOnFullDisk(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir, disk := t.TempDir(), t.TempDir()
	defer mounttest.Disk(t, disk, "64k")()
	path, inner := filepath.Join(dir, "file"), filepath.Join(disk, "file")
	write(t, path, "")
	old := strings.Repeat("old ", 10_000)
	write(t, inner, old)
	check(t, syscall.Mount(inner, path, "", syscall.MS_BIND, ""))
	defer func() { check(t, syscall.Unmount(path, syscall.MNT_DETACH)) }()
	f := newFile(t, path, strings.Repeat("new ", 30_000), Options{Mode: 0o600})
	if err := f.Commit(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EXDEV) {
		t.Errorf("the commit ended with %v", err)
	}
	check(t, f.Restore())
	f.Discard()
	wantContent(t, path, old)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	check(t, Write(path, []byte(strings.Repeat("new ", 10_000)), Options{}))
	wantNames(t, dir, "file")
}

// asUser calls do as another user, without capabilities.
func asUser(t *testing.T, uid, gid int, groups []int, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can act as another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ids := make([]uint32, len(groups))
		for i, g := range groups {
			ids[i] = uint32(g)
		}
		if errno := setgroups(ids); errno != 0 {
			t.Errorf("setgroups: %v", errno)
			return
		}
		for _, call := range []struct {
			trap uintptr
			id   int
		}{{syscall.SYS_SETRESGID, gid}, {syscall.SYS_SETRESUID, uid}} {
			if _, _, errno := syscall.RawSyscall(call.trap, uintptr(call.id), uintptr(call.id), uintptr(call.id)); errno != 0 {
				t.Errorf("becoming user %d of group %d: %v", uid, gid, errno)
				return
			}
		}
		do()
	}()
	<-done
}

func TestFile_KeepsAttributes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	check(t, os.WriteFile(path, []byte("old"), 0o640))
	if os.Geteuid() == 0 {
		check(t, os.Chown(path, 1234, 2345))
	}
	attributes := map[string][]byte{
		"system.posix_acl_access": accessList(3456), "user.note": []byte("kept"),
		"security.selinux": []byte("system_u:object_r:etc_t:s0\x00"),
	}
	for name, value := range attributes {
		if err := syscall.Setxattr(path, name, value, 0); err != nil {
			t.Logf("no %s here: %v", name, err)
			delete(attributes, name)
		}
	}
	before, err := os.Stat(path)
	check(t, err)
	f := newFile(t, path, "new", Options{})
	for _, do := range []func() error{f.Commit, f.Restore} {
		check(t, do())
		after, err := os.Stat(path)
		check(t, err)
		was, is := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t)
		if is.Uid != was.Uid || is.Gid != was.Gid || after.Mode() != before.Mode() {
			t.Errorf("it is of %d:%d with mode %v, and was of %d:%d with mode %v",
				is.Uid, is.Gid, after.Mode(), was.Uid, was.Gid, before.Mode())
		}
		for name, want := range attributes {
			got := make([]byte, 1000)
			n, err := syscall.Getxattr(path, name, got)
			check(t, err)
			if string(got[:n]) != string(want) {
				t.Errorf("%s is %q, want %q", name, got[:n], want)
			}
		}
	}
	f.Discard()
	wantNames(t, dir, "file")
}

// accessList returns an access control list that lets one more user read a file of mode 0640.
func accessList(user uint32) []byte {
	const owner, named, group, mask, others, nobody = 1, 2, 4, 16, 32, 1<<32 - 1
	list := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{owner, 6, nobody}, {named, 4, user}, {group, 4, nobody}, {mask, 4, nobody}, {others, 0, nobody}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.perm)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	return list
}

func TestFile_Immutable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	thaw := freeze(t, path)
	if thaw == nil {
		t.Log("no immutable files here")
		return
	}
	defer thaw()
	f := newFile(t, path, "new", Options{})
	if err := f.Commit(); !errors.Is(err, syscall.EPERM) {
		t.Errorf("the commit ended with %v", err)
	}
	check(t, f.Restore())
	f.Discard()
	wantContent(t, path, "old")
	wantNames(t, dir, "file")
}
