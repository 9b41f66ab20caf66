package process

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindBinary returns the absolute path of the HAProxy program, under which a master executes itself again. The error wraps
// [exec.ErrNotFound] or the error of the file.
func FindBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	where := fmt.Sprintf("there is no %q in PATH", name)
	if strings.ContainsRune(name, filepath.Separator) {
		where = fmt.Sprintf("there is no program %s", name)
	}
	return "", &notInstalledError{where, err}
}

// A notInstalledError reports that HAProxy is not installed. Its text leaves out the cause, which repeats it.
type notInstalledError struct {
	where string
	cause error
}

func (e *notInstalledError) Error() string {
	return "HAProxy is not installed: " + e.where + "; install it or set haproxy.binary"
}

func (e *notInstalledError) Unwrap() error { return e.cause }
