// Package replace replaces the content of files.
//
// The new content is written to a temporary file beside the target and renamed over it, so that readers see either the old
// content or the new one, even after a crash. The target keeps its owner, group, mode, access control list, security label and
// user attributes; symbolic links remain links.
//
// If a rename is impossible, the content is written into the existing file: if the target is a mount point, such as a file that
// is bind-mounted into a container, if its directory cannot be written, and if a user who can read the target could not read the
// new file because of its owner or group. The previous content is restored if that fails. A crash during such a write can leave a
// part of the new content.
package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Options configure how a file is replaced. The zero value is usable.
type Options struct {
	Mode  fs.FileMode // the mode of the file; 0 keeps the current mode
	New   fs.FileMode // the mode of a new file if Mode is 0; 0 is 0644 minus the umask
	Owner string      // identifies the temporary files to [RemoveTemporary]: the path of a file that only one process replaces
	Check bool        // the content is only read under its temporary name: the target need not be writable
}

// A File is new content for a target file, under a temporary name until [File.Commit]. [File.Discard] must be called at the end.
// Its methods must not be called concurrently.
type File struct {
	target  string // no symbolic link
	temp    string
	private string // the directory of temp if that is not the target's
	content []byte
	options Options
	inPlace error // why a rename is impossible; nil if it may be possible

	backup   string    // a second name of the previous file
	previous *previous // of a target that was written in place
	created  bool      // there was no previous file
	renamed  bool
}

// New writes content under a temporary name, beside path or, if that directory cannot be written, in a private directory. It
// follows a symbolic link at path. It fails if path is neither missing nor a regular file, or if it can be replaced neither by a
// rename nor in place. It leaves nothing behind when it fails.
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
		return nil, fmt.Errorf("cannot write a new file into the directory %s: %w", filepath.Dir(target), Cause(err))
	}
	return f, nil
}

// createElsewhere creates the temporary file in a private directory. The target can only be written in place because of cause.
func (f *File) createElsewhere(cause error) error {
	if !f.options.Check {
		if err := writable(f.target); err != nil {
			return cause
		}
	}
	private, err := MakeDirectory(f.options.temporaryOwner())
	if err != nil {
		return errors.Join(cause, err)
	}
	f.private, f.inPlace = private, Cause(cause)
	f.temp, _, err = f.create(private)
	return err
}

// Write replaces the content of the file at path durably.
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

// Name returns the path of the content until Commit.
func (f *File) Name() string { return f.temp }

// Commit replaces the target, and keeps the previous content for [File.Restore]. After an error the target is unchanged.
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
	f.dropBackup() // it may be another name of the file that is about to be written
	before, err := overwrite(f.target, f.content, f.options.Mode)
	if err != nil {
		return fmt.Errorf("cannot replace %s: neither by a rename (%w) nor in place (%w)",
			f.target, f.inPlace, Cause(err))
	}
	f.previous = before
	return nil
}

// needsWriteInPlace reports whether the file may be writable in place after that error of a rename or link.
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

// backUp gives the target a second name, so that Restore needs no space on a full disk.
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
	case err != nil: // some file systems have no hard links, and some systems allow only the owner to create them
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

// Restore restores the file before Commit. Without a Commit it does nothing. It may be called again after an error.
func (f *File) Restore() error {
	if err := f.restore(); err != nil {
		return fmt.Errorf("cannot restore %s: %w", f.target, Cause(err))
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
		if err != nil && needsWriteInPlace(err) { // it has become a mount point meanwhile
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

// Sync makes the renames of Commit and Restore durable. Content is durable before them.
func (f *File) Sync() error {
	if f.inPlace != nil {
		return nil
	}
	if err := syncDirectory(filepath.Dir(f.target)); err != nil {
		return fmt.Errorf("cannot make the change of %s durable: %w", f.target, Cause(err))
	}
	return nil
}

func syncDirectory(directory string) error {
	d, err := os.Open(directory)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some network file systems do not support it
	}
	return err
}

// Discard removes all temporary files, so that Restore is no longer possible. It may be called at any time and repeatedly. [New]
// retries to remove what cannot be removed.
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

// Remove removes the file at path if it exists. If that is impossible, as for a mount point, it truncates the file.
func Remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // removing a missing file from a read-only directory would fail with another error
	}
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) || os.Truncate(path, 0) == nil {
		return nil
	}
	return err
}

// Resolve returns the path to which a chain of symbolic links at path leads. The file need not exist.
func Resolve(path string) (string, error) {
	const maxLinks = 40 // as in Linux
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil { // no link, or no file
			return path, nil
		}
		if !filepath.IsAbs(target) {
			directory, err := filepath.EvalSymlinks(filepath.Dir(path)) // for ".." in the link
			if err != nil {
				return "", err
			}
			target = filepath.Join(directory, target)
		}
		path = target
	}
	return "", fmt.Errorf("cannot replace %s: %w", path, syscall.ELOOP)
}

// Cause returns the cause of an error about a file, without the operation and the path.
func Cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
