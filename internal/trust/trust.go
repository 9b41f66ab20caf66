// Package trust checks whether another user could have replaced a file or a directory.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	groupWrites = 0o020
	othersWrite = 0o002
	// maxLinks bounds the symbolic links of one path.
	maxLinks = 40
)

// ErrOwner is the error of [Check] for a file that belongs to another user.
var ErrOwner = errors.New("belongs to another user")

// Check returns an error if path, which must exist, belongs to a user other than root and the user of this process, or if
// others can write to it. As root it also checks each directory and symbolic link on the way to path, since a user who can
// write to one of them can replace path. A directory on the way may be writable for others if it has the sticky bit, as
// /tmp does.
func Check(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	c := checker{uid: os.Geteuid(), gid: os.Getegid()}
	return c.check(abs, 0)
}

type checker struct{ uid, gid int }

func (c checker) check(path string, links int) error {
	if links > maxLinks {
		return fmt.Errorf("%s has too many symbolic links", path)
	}
	at := string(filepath.Separator)
	parts := strings.Split(strings.TrimPrefix(filepath.Clean(path), at), at)
	for i := -1; i < len(parts); i++ {
		if i >= 0 {
			at = filepath.Join(at, parts[i])
		}
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		last := i == len(parts)-1
		if info.Mode()&fs.ModeSymlink != 0 {
			return c.checkLink(at, info, parts[i+1:], links)
		}
		if !last && c.uid != 0 {
			continue
		}
		if err := c.checkFile(at, info, last); err != nil {
			return err
		}
	}
	return nil
}

// checkLink checks the symbolic link at and the path that it leads to, followed by rest.
func (c checker) checkLink(at string, info fs.FileInfo, rest []string, links int) error {
	if c.uid == 0 {
		if err := c.checkOwner(at, info); err != nil {
			return err
		}
	}
	target, err := os.Readlink(at)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(at), target)
	}
	return c.check(filepath.Join(append([]string{target}, rest...)...), links+1)
}

// checkFile checks owner and mode of a file or directory. last says that it is the end of the path.
func (c checker) checkFile(at string, info fs.FileInfo, last bool) error {
	if err := c.checkOwner(at, info); err != nil {
		return err
	}
	mode := info.Mode()
	if !last && mode&fs.ModeSticky != 0 {
		return nil
	}
	groupCanWrite := mode.Perm()&groupWrites != 0 && !c.isOwnGroup(info)
	if groupCanWrite || mode.Perm()&othersWrite != 0 {
		return fmt.Errorf("%s can be written by others: chmod go-w it", at)
	}
	return nil
}

func (c checker) checkOwner(at string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int64(stat.Uid) == int64(c.uid) {
		return nil
	}
	return fmt.Errorf("%s %w (uid %d): chown it to root or to uid %d", at, ErrOwner, stat.Uid, c.uid)
}

// isOwnGroup reports whether the group of the file is root's, or the primary group of this process, which usually has no
// other members.
func (c checker) isOwnGroup(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Gid == 0 || int64(stat.Gid) == int64(c.gid))
}
