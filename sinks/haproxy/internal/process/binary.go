package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/replace"
)

// FindBinary returns the absolute path of the HAProxy program, under which a master executes itself again. The error wraps
// [exec.ErrNotFound] or the error of the file.
func FindBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return filepath.Abs(path)
	case !strings.ContainsRune(name, filepath.Separator):
		return "", &binaryError{fmt.Sprintf("HAProxy is not installed: there is no %q in PATH; install it or set haproxy.binary",
			name), err}
	case errors.Is(err, fs.ErrNotExist):
		return "", &binaryError{fmt.Sprintf("HAProxy is not installed: there is no program %s; install it or set haproxy.binary",
			name), err}
	}
	cause := replace.Cause(errors.Unwrap(err)) // without the path
	return "", &binaryError{fmt.Sprintf("HAProxy's program %s cannot be run: %v; make it executable or correct haproxy.binary",
		name, cause), err}
}

// A binaryError reports that HAProxy's program is missing or not executable. Its text leaves out the cause, which repeats it.
type binaryError struct {
	text  string
	cause error
}

func (e *binaryError) Error() string { return e.text }
func (e *binaryError) Unwrap() error { return e.cause }
