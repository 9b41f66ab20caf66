package statestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/trust"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// format is the version of what is written: a line of JSON that is a header, and then the body that it vouches for, JSON too.
const format = 1

// The kinds of body.
const (
	kindSnapshot = "snapshot"
	kindApplied  = "document in effect"
)

type header struct {
	Format int
	Kind   string
	SHA256 string // of the body, in hexadecimal
}

const (
	halfWritten = ".tmp"
	// largest bounds what is read of a file, in bytes: it has up to about 4 MB for 10,000 instances.
	largest = 256 << 20
)

// encode returns the bytes of a file.
func encode(v any) ([]byte, error) {
	kind := kindSnapshot
	switch v := v.(type) {
	case sdk.Snapshot:
	case engine.AppliedDocument:
		kind = kindApplied
	default:
		return nil, fmt.Errorf("a %T is not kept", v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return vouch(kind, body)
}

// vouch puts the header before the body.
func vouch(kind string, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	head, err := json.Marshal(header{format, kind, hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{head, body}, []byte("\n")), nil
}

// decode reads the bytes of a file into v. It trusts nothing that the header does not vouch for.
func decode(content []byte, kind string, v any) error {
	head, body, found := bytes.Cut(content, []byte("\n"))
	var h header
	if err := json.Unmarshal(head, &h); !found || err != nil {
		return errors.New("it has no header")
	}
	sum := sha256.Sum256(body)
	switch {
	case h.Format != format:
		return fmt.Errorf("its format is %d, and this version knows %d", h.Format, format)
	case h.Kind != kind:
		return fmt.Errorf("it is not a %s", kind)
	case h.SHA256 != hex.EncodeToString(sum[:]):
		return errors.New("its checksum is wrong")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	return nil
}

// A damagedError says that a file was read and its content is no good. Any other error may pass.
type damagedError struct{ error }

func (e damagedError) Unwrap() error { return e.error }

// load reads the file at path into v. It follows no symbolic link, and waits for nobody at the other end of a pipe.
func load(path, kind string, v any) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("it is not a regular file"))
	}
	content, err := io.ReadAll(io.LimitReader(f, largest+1))
	switch {
	case err != nil:
		return err
	case len(content) > largest:
		return damagedError{fmt.Errorf("it is longer than %d bytes", largest)}
	}
	if err := decode(content, kind, v); err != nil {
		return damagedError{err}
	}
	return nil
}

// save replaces the file at path, so that after a crash at any moment there is the old one or the new one.
func save(path string, v any) error {
	content, err := encode(v)
	if err != nil {
		return err
	}
	if err := trust.Check(filepath.Dir(path)); err != nil {
		return err
	}
	// What is left of an earlier try goes first: nothing that stands there already is written to, nor what a link there leads to.
	if err := syscall.Unlink(path + halfWritten); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+halfWritten, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
