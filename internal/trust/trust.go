// Package trust tells whether somebody else could have put a file or a folder where it is.
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

// Check returns an error where path, which has to exist, belongs to somebody else than this process or root, or can be written by
// others. As root it also looks at each folder and symbolic link on the way to it: who can write to one of these can put
// something else in its place. A folder with the sticky bit, such as /tmp, may be written by others on the way.
func Check(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	c := checker{self: os.Geteuid(), group: os.Getegid()}
	return c.check(abs, 0)
}

type checker struct{ self, group int }

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
			return c.link(at, info, parts[i+1:], links)
		}
		if !last && c.self != 0 {
			continue
		}
		if err := c.own(at, info, last); err != nil {
			return err
		}
	}
	return nil
}

// link goes on where the symbolic link leads to.
func (c checker) link(at string, info fs.FileInfo, rest []string, links int) error {
	if c.self == 0 {
		if err := c.owner(at, info); err != nil {
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

func (c checker) own(at string, info fs.FileInfo, last bool) error {
	if err := c.owner(at, info); err != nil {
		return err
	}
	mode := info.Mode()
	if !last && mode&fs.ModeSticky != 0 {
		return nil
	}
	foreign := mode.Perm()&groupWrites != 0 && !c.ownGroup(info)
	if foreign || mode.Perm()&othersWrite != 0 {
		return fmt.Errorf("%s can be written by others: chmod go-w it", at)
	}
	return nil
}

// ErrOwner is what [Check] returns for what belongs to somebody else.
var ErrOwner = errors.New("belongs to another user")

func (c checker) owner(at string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int64(stat.Uid) == int64(c.self) {
		return nil
	}
	return fmt.Errorf("%s %w (uid %d): chown it to root or to uid %d", at, ErrOwner, stat.Uid, c.self)
}

// ownGroup reports whether the group is root's, or the primary one of a user who mostly is alone in it.
func (c checker) ownGroup(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Gid == 0 || int64(stat.Gid) == int64(c.group))
}
