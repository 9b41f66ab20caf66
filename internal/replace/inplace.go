package replace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// previous is the state of a file before it was written in place.
type previous struct {
	content []byte
	mode    fs.FileMode // 0 if it was not changed
}

// writable returns an error if the file at path cannot be written in place.
func writable(path string) error {
	f, err := openInPlace(path)
	if err != nil {
		return err
	}
	return f.Close()
}

func openInPlace(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// overwrite writes content into the existing file at path durably, and returns its previous state. After an error the file has
// its previous content, unless the error says otherwise. A mode of 0 keeps the current mode.
func overwrite(path string, content []byte, mode fs.FileMode) (before *previous, err error) {
	f, err := openInPlace(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	before = &previous{}
	if before.content, err = io.ReadAll(f); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); mode != 0 && mode != perm {
		if err := f.Chmod(mode); err != nil {
			return nil, err
		}
		before.mode = perm
	}
	if err = writeOver(f, content, before.content); err == nil {
		return before, nil
	}
	if before.mode != 0 {
		_ = f.Chmod(before.mode)
	}
	return nil, err
}

// writeOver writes content over the old content of f. It first appends what needs new space on the disk, so that a full disk is
// noticed before the old content changes.
func writeOver(f *os.File, content, old []byte) error {
	if bytes.Equal(content, old) {
		return nil
	}
	size := min(len(content), len(old))
	if tail := content[size:]; len(tail) > 0 {
		_, err := f.WriteAt(tail, int64(size))
		if err == nil {
			err = f.Sync() // some file systems report a full disk only now
		}
		if err != nil {
			return errors.Join(err, f.Truncate(int64(size)))
		}
	}
	err := writeAll(f, content, size)
	if err == nil {
		return nil
	}
	if restoreErr := writeAll(f, old, len(old)); restoreErr != nil {
		return fmt.Errorf("%w, and restoring its previous content failed: %w", err, Cause(restoreErr))
	}
	return err
}

// writeAll writes the first size bytes of content and truncates the file to the length of content.
func writeAll(f *os.File, content []byte, size int) error {
	if _, err := f.WriteAt(content[:size], 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		return err
	}
	return f.Sync()
}
