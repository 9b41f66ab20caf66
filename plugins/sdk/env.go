package sdk

import (
	"errors"
	"log/slog"
	"os"
)

// Info names a plugin.
type Info struct {
	Name    string // such as "nginx"; shown to people
	Version string
}

// Env is what the daemon passes to every sink and source at its start.
type Env struct {
	Name string       // the name of the sink or source in the configuration
	Log  *slog.Logger // writes to the daemon's log
	// StateDir is a directory for the state of this sink or source, which no other one uses. It does not exist before the first
	// [Env.CreateStateDir]. It is empty if the daemon keeps no state, and when a configuration is only checked.
	StateDir string
}

// CreateStateDir creates StateDir with mode 0700, if it does not exist, and returns it. It returns [errors.ErrUnsupported] if
// the daemon keeps no state.
func (e Env) CreateStateDir() (string, error) {
	if e.StateDir == "" {
		return "", errors.ErrUnsupported
	}
	return e.StateDir, os.MkdirAll(e.StateDir, 0o700)
}
