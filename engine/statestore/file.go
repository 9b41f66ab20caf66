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

// format is the version of the file format: a line of JSON with the header, and then the body, which is JSON too.
const format = 1

// The kinds of body. They are part of the file format.
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
	// tempSuffix is appended to the name of a file while it is being written.
	tempSuffix = ".tmp"
	// maxFileSize bounds what is read of a file, in bytes: 10,000 instances take about 4 MB.
	maxFileSize = 256 << 20
)

// encode returns the content of a file with v as the body.
func encode(v any) ([]byte, error) {
	kind := kindSnapshot
	switch v := v.(type) {
	case sdk.Snapshot:
	case engine.AppliedDocument:
		kind = kindApplied
	default:
		return nil, fmt.Errorf("cannot store a %T", v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return addHeader(kind, body)
}

func addHeader(kind string, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	head, err := json.Marshal(header{format, kind, hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{head, body}, []byte("\n")), nil
}

// decode validates the content of a file by its header and decodes the body into v.
func decode(content []byte, kind string, v any) error {
	head, body, found := bytes.Cut(content, []byte("\n"))
	var h header
	if err := json.Unmarshal(head, &h); !found || err != nil {
		return errNoHeader
	}
	sum := sha256.Sum256(body)
	switch {
	case h.Format != format:
		return fmt.Errorf("%w %d, want %d", errFormat, h.Format, format)
	case h.Kind != kind:
		return fmt.Errorf("%w %q, want %q", errKind, h.Kind, kind)
	case h.SHA256 != hex.EncodeToString(sum[:]):
		return errChecksum
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decoding the content: %w", err)
	}
	return nil
}

// Errors of decode.
var (
	errNoHeader = errors.New("the file has no header")
	errFormat   = errors.New("the file has format")
	errKind     = errors.New("the file has content of kind")
	errChecksum = errors.New("the checksum of the file is wrong")

	errNotRegular = errors.New("not a regular file")
)

// A damagedError says that a file was read and its content is invalid. Other errors of load may be temporary.
type damagedError struct{ error }

func (e damagedError) Unwrap() error { return e.error }

// readFile returns the content of the file at path. It does not follow a symbolic link and does not block on a named pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxFileSize:
		return nil, damagedError{fmt.Errorf("the file has more than %d bytes", maxFileSize)}
	}
	return content, nil
}

// save replaces the content of the file at path by v.
func save(path string, v any) error {
	content, err := encode(v)
	if err != nil {
		return err
	}
	return replace(path, content)
}

// replace replaces the content of the file at path. After a crash at any moment the file has the old or the new content.
func replace(path string, content []byte) error {
	if err := trust.Check(filepath.Dir(path)); err != nil {
		return err
	}
	// A file that an earlier attempt left is removed and not written to: it could be a link to another file.
	if err := syscall.Unlink(path + tempSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+tempSuffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
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
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
