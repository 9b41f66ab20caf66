// Package process finds, starts, reloads and stops HAProxy.
//
// HAProxy is run in one of two ways, behind the interface [Controller]. [NewManaged] starts a master with workers and controls
// it on its master socket. [NewCommand] starts and reloads HAProxy by a command, and knows its processes from the pid file.
//
// The package must not know documents or what the sink wants HAProxy to run: it makes HAProxy load the files that are on disk,
// and reports whether HAProxy did.
package process

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A Config says how one HAProxy is run.
type Config struct {
	Paths
	Binary        string        // a name to find in PATH, or a path
	ReloadCommand string        // for bash; empty if HAProxy is started without a command of the user's
	DrainTimeout  time.Duration // how long a replaced process may finish its connections
}

// Paths are the files of one HAProxy. All of them are absolute: HAProxy's master executes itself again at every reload,
// whatever its working directory is by then.
type Paths struct {
	ConfigFile   string // the main configuration file
	PidFile      string // HAProxy's pid file
	MasterSocket string // the runtime API of the master process
	AdminSocket  string // the runtime API that the base file opens
	BaseFile     string // the configuration file that HAProxy reads before the main one
	OutputFile   string // what a managed HAProxy writes to its standard output and standard error
}

// MaxSocketPath bounds the path of a socket in bytes. The system takes 107 (103 on Darwin), but HAProxy binds a temporary name
// first that is longer by a dot, its process id and ".tmp".
const MaxSocketPath = 90

// PathsOf returns the paths for the main configuration file and the pid file, as the keys config_file and pid_file have them.
// All others are beside the pid file. needsMaster says that the path of the master socket must not be too long.
func PathsOf(configFile, pidFile string, needsMaster bool) (Paths, error) {
	config, err := filepath.Abs(configFile)
	if err != nil {
		return Paths{}, fmt.Errorf("config_file %s: %w", configFile, err)
	}
	pid, err := filepath.Abs(pidFile)
	if err != nil {
		return Paths{}, fmt.Errorf("pid_file %s: %w", pidFile, err)
	}
	stem := pid[:len(pid)-len(filepath.Ext(pid))]
	p := Paths{ConfigFile: config, PidFile: pid, MasterSocket: stem + ".master.sock", AdminSocket: stem + ".admin.sock",
		BaseFile: stem + ".base.cfg", OutputFile: stem + ".stderr.log"}
	if needsMaster && len(p.MasterSocket) > MaxSocketPath {
		return Paths{}, fmt.Errorf("pid_file %s is too long a path: HAProxy's socket is beside it, as %s, "+
			"and may have at most %d bytes", pid, filepath.Base(p.MasterSocket), MaxSocketPath)
	}
	return p, nil
}

// CheckDirectory returns an error if HAProxy could not bind its master socket. A master that cannot bind it again at a reload
// ends, and its workers with it.
func (p Paths) CheckDirectory() error {
	dir := filepath.Dir(p.MasterSocket)
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("HAProxy cannot create its sockets in the directory %s: %w; make the directory writable", dir, err)
	}
	return nil
}
