package haproxy

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// shell runs a command line of the user's through bash, as the older haproxy-api did.
func shell(ctx context.Context, line string) (program.Outcome, error) {
	return program.Run(ctx, "bash", "-c", line)
}

// findBinary returns the absolute path of the HAProxy program: the master executes itself again under that name.
func findBinary(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	where := fmt.Sprintf("there is no %q in PATH", name)
	if strings.ContainsRune(name, filepath.Separator) {
		where = fmt.Sprintf("there is no program %s", name)
	}
	return "", &missingError{fmt.Sprintf("HAProxy is not installed: %s; install it or set haproxy.binary", where), err}
}

// A missingError says that a program is not there, which may change.
type missingError struct {
	sentence string
	cause    error
}

func (e *missingError) Error() string { return e.sentence }
func (e *missingError) Unwrap() error { return e.cause }
