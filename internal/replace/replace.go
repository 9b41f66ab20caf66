// Package replace replaces the content of files.
//
// New content is written to a temporary file beside the target and renamed over it, so that every reader finds either the old
// content or the new one, also after a crash. The target keeps its owner, group, mode, access control list, security label and
// user attributes; symbolic links stay links.
//
// Where a rename is impossible, the content is written into the existing file: where the target is a mount point, such as a file
// that is bind-mounted into a container, where its folder cannot be written, and where the new file would have an owner or a
// group by which somebody can no longer read it. The previous content is put back where that fails. A crash in the middle of
// such a write can leave a part of the new content.
package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Options say how a file is replaced. Their zero value is usable.
type Options struct {
	Mode  fs.FileMode // of the file afterwards; 0 keeps the one that it has
	New   fs.FileMode // where Mode is 0, of a file that does not exist yet; 0 stands for 0644 without the bits of the umask
	Owner string      // identifies the temporary files to [RemoveTemporary]: the path of a file that one process alone replaces
	Check bool        // the content is only to be read under its temporary name: nothing needs to be writable
}

// A File is new content for a file, under a temporary name until [File.Commit]. [File.Discard] has to be called in the end. Its
// methods must not be called concurrently.
type File struct {
	target  string // no symbolic link
	temp    string
	private string // the folder of temp where that is not the target's
	content []byte
	options Options
	inPlace error // why the target cannot be renamed over; nil where that is not known to be so

	backup   string    // a second name of the previous file
	previous *previous // of a target that was written in place
	created  bool      // there was no file before
	renamed  bool
}

// New writes content under a temporary name, beside path or, where that folder cannot be written, in a private folder. A symbolic
// link at path is followed. It leaves nothing behind when it fails, which is also where path is neither missing nor a regular
// file, or can be replaced in no way.
func New(path string, content []byte, o Options) (*File, error) {
	leftovers.retry()
	target, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular():
	case err == nil:
		return nil, fmt.Errorf("cannot replace %s: it is not a regular file", target)
	default:
		return nil, fmt.Errorf("cannot replace %s: %w", target, Cause(err))
	}
	f := &File{target: target, content: content, options: o}
	f.temp, f.inPlace, err = f.create(filepath.Dir(target))
	if unwritable(err) || o.Check && errors.Is(err, fs.ErrNotExist) {
		err = f.createElsewhere(err)
	}
	if err != nil {
		f.Discard()
		return nil, fmt.Errorf("cannot write a new file into the folder %s: %w", filepath.Dir(target), Cause(err))
	}
	return f, nil
}

// createElsewhere creates the temporary file in a private folder, for a target that can only be written in place because of
// cause.
func (f *File) createElsewhere(cause error) error {
	if !f.options.Check {
		if err := writable(f.target); err != nil {
			return cause
		}
	}
	private, err := MakeFolder(f.options.temporaryOwner())
	if err != nil {
		return errors.Join(cause, err)
	}
	f.private, f.inPlace = private, Cause(cause)
	f.temp, _, err = f.create(private)
	return err
}

// Write replaces the content of the file at path and makes that durable.
func Write(path string, content []byte, o Options) error {
	f, err := New(path, content, o)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.Commit(); err != nil {
		return err
	}
	return f.Sync()
}

// Name returns the path that the content has until Commit.
func (f *File) Name() string { return f.temp }

// Commit replaces the target, and keeps what was there for [File.Restore]. After an error the target is as before.
func (f *File) Commit() error {
	if f.inPlace == nil {
		err := f.rename()
		if err == nil {
			return nil
		}
		if !needsWriteInPlace(err) {
			return fmt.Errorf("cannot replace %s: %w", f.target, Cause(err))
		}
		f.inPlace = Cause(err)
	}
	f.dropBackup() // may be a second name of the very file that is about to be written
	before, err := overwrite(f.target, f.content, f.options.Mode)
	if err != nil {
		return fmt.Errorf("cannot replace %s: it can neither be renamed over (%w) nor written in place (%w)",
			f.target, f.inPlace, Cause(err))
	}
	f.previous = before
	return nil
}

// needsWriteInPlace reports whether err, of a rename or link, may not keep the file from being written in place.
func needsWriteInPlace(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) || unwritable(err)
}

func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (f *File) rename() error {
	if err := f.backUp(); err != nil {
		return err
	}
	if err := os.Rename(f.temp, f.target); err != nil {
		return err
	}
	f.renamed = true
	return nil
}

// backUp gives the target a second name, so that putting it back takes no space on a disk that is full by then.
func (f *File) backUp() error {
	f.created = false
	name := f.temp + backupSuffix
	err := os.Link(f.target, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.created = true
		return nil
	case errors.Is(err, syscall.EXDEV): // it is a mount point
		return err
	case err != nil: // some file systems know no second names, and some systems allow them only to the owner
		if name, err = f.copyTarget(); err != nil {
			return err
		}
	}
	f.backup = name
	return nil
}

func (f *File) copyTarget() (name string, err error) {
	content, err := os.ReadFile(f.target)
	if err != nil {
		return "", err
	}
	c := File{target: f.target, content: content, options: Options{Owner: f.options.Owner}}
	name, _, err = c.create(filepath.Dir(f.target))
	return name, err
}

// Restore puts back what was there before Commit, and does nothing without one. It may be called again after an error.
func (f *File) Restore() error {
	if err := f.restore(); err != nil {
		return fmt.Errorf("cannot put back %s: %w", f.target, Cause(err))
	}
	return nil
}

func (f *File) restore() error {
	switch {
	case f.previous != nil:
		if _, err := overwrite(f.target, f.previous.content, f.previous.mode); err != nil {
			return err
		}
		f.previous = nil
	case !f.renamed:
	case f.created:
		if err := os.Remove(f.target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.renamed = false
	default:
		err := os.Rename(f.backup, f.target)
		if err != nil && needsWriteInPlace(err) { // it has become a mount point since
			err = restoreInto(f.target, f.backup)
		}
		if err != nil {
			return err
		}
		f.renamed = false
	}
	return nil
}

func restoreInto(target, backup string) error {
	content, err := os.ReadFile(backup)
	if err != nil {
		return err
	}
	_, err = overwrite(target, content, 0)
	return err
}

// Sync makes the renames of Commit and Restore survive a power cut. Content is on disk before them.
func (f *File) Sync() error {
	if f.inPlace != nil {
		return nil
	}
	if err := syncFolder(filepath.Dir(f.target)); err != nil {
		return fmt.Errorf("cannot make the change of %s durable: %w", f.target, Cause(err))
	}
	return nil
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some network file systems have no such thing
	}
	return err
}

// Discard removes everything temporary, so that there is nothing to restore any more. It may be called at any point and more than
// once. What cannot be removed is tried again by [New].
func (f *File) Discard() {
	for _, path := range []string{f.temp, f.private} {
		if path != "" {
			leftovers.remove(path)
		}
	}
	f.dropBackup()
	f.previous, f.renamed = nil, false
}

func (f *File) dropBackup() {
	if f.backup != "" {
		leftovers.remove(f.backup)
	}
	f.backup = ""
}

// Remove removes the file at path if there is one. Where that is impossible, as with a mount point, it empties the file.
func Remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) { // a read-only folder refuses before it looks
		return nil
	}
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) || os.Truncate(path, 0) == nil {
		return nil
	}
	return err
}

// Resolve returns the path that a chain of symbolic links at path ends in, whether there is a file or not.
func Resolve(path string) (string, error) {
	const most = 40 // as the kernel
	for range most {
		target, err := os.Readlink(path)
		if err != nil { // it is no link, or there is nothing
			return path, nil
		}
		if !filepath.IsAbs(target) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path)) // for ".." in the link
			if err != nil {
				return "", err
			}
			target = filepath.Join(folder, target)
		}
		path = target
	}
	return "", fmt.Errorf("cannot replace %s: %w", path, syscall.ELOOP)
}

// Cause returns what is below the name of the operation and the path in an error about a file.
func Cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
