// Package haproxy makes documents live in HAProxy.
//
// A document is staged beside the live configuration, checked by HAProxy itself, renamed into place and loaded by the running
// HAProxy, which is then asked whether it serves it. If a step fails, the previous document is restored, on disk and in HAProxy.
// Where only servers differ, they are changed in the running HAProxy, and the file is written afterwards. HAProxy is started if
// none runs, adopted if one does, and restarted if it ends. It keeps running when the process of this package ends.
//
// HAProxy is run in one of two modes. In managed mode it is a master process with workers, which is controlled through its master
// socket. In command mode the user's own reload command starts and reloads it, and only its pid file is known.
//
// The package must not know the engine or other sinks. How processes are found, started and reloaded is internal/process, the
// runtime API is internal/runtimeapi, and the meaning of a configuration is internal/syntax. locks.go says which lock guards
// what.
package haproxy

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// Values of [Config.Mode].
const (
	ModeManaged = "managed"
	ModeCommand = "command"
)

// Values of [Config.OnExit]: what Stop does with HAProxy.
const (
	OnExitLeave = "leave"
	OnExitStop  = "stop"
)

// A Config is the sink's block of the configuration.
type Config struct {
	Binary         string        `json:"binary"`          // a name to find in PATH, or a path
	Mode           string        `json:"mode"`            // ModeManaged or ModeCommand; ReloadCmd implies the latter
	ConfigFile     string        `json:"config_file"`     // where the main file goes; companions go into its directory
	PidFile        string        `json:"pid_file"`        // where HAProxy writes its process id
	ReloadCmd      string        `json:"reload_cmd"`      // for bash; also starts HAProxy if none runs
	VerifyCmd      string        `json:"verify_cmd"`      // for bash; used instead of HAProxy's own check
	ReloadInterval time.Duration `json:"reload_interval"` // the minimum time between two reloads
	DrainTimeout   time.Duration `json:"drain_timeout"`   // for removed servers, old workers, and HAProxy itself
	MaxOldWorkers  int           `json:"max_old_workers"` // how many replaced workers may stay; 0 for any number
	OnExit         string        `json:"on_exit"`         // OnExitLeave or OnExitStop
	Runtime        bool          `json:"runtime"`         // change servers in the running HAProxy if that is sufficient
}

// Defaults returns the default configuration. ConfigFile and PidFile have no default.
func Defaults() Config {
	return Config{
		Binary:         "haproxy",
		Mode:           ModeManaged,
		ReloadInterval: 5 * time.Second,
		DrainTimeout:   30 * time.Second,
		MaxOldWorkers:  10,
		OnExit:         OnExitLeave,
		Runtime:        true,
	}
}

// Validate returns all faults, joined. Each names its key.
func (c Config) Validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.Binary != "", "binary is empty: name the HAProxy program, such as %q", "haproxy")
	need(c.Mode == ModeManaged || c.Mode == ModeCommand, "mode is %q: it must be %q or %q", c.Mode, ModeManaged, ModeCommand)
	need(c.ConfigFile != "", "config_file is missing: it says where HAProxy's configuration is written")
	need(c.PidFile != "", "pid_file is missing: it says where HAProxy writes its process id")
	need(c.ConfigFile == "" || filepath.Clean(c.ConfigFile) != filepath.Clean(c.PidFile),
		"config_file and pid_file are both %q: they must be two files", c.ConfigFile)
	need(c.ReloadInterval >= 0, "reload_interval is %v: it cannot be negative", c.ReloadInterval)
	need(c.DrainTimeout >= 0, "drain_timeout is %v: it cannot be negative", c.DrainTimeout)
	need(c.MaxOldWorkers >= 0, "max_old_workers is %d: it cannot be negative", c.MaxOldWorkers)
	need(c.OnExit == OnExitLeave || c.OnExit == OnExitStop,
		"on_exit is %q: it must be %q or %q", c.OnExit, OnExitLeave, OnExitStop)
	return errors.Join(faults...)
}

// byCommand reports whether a command starts and reloads HAProxy.
func (c Config) byCommand() bool { return c.Mode == ModeCommand || c.ReloadCmd != "" }

// paths are the files of one HAProxy, and how it is run. All paths are absolute.
type paths struct {
	process.Config
	state string // the state file
}

func (c Config) paths() (paths, error) {
	p, err := process.PathsOf(c.ConfigFile, c.PidFile, c.ReloadCmd == "") // a reload command needs no master socket
	if err != nil {
		return paths{}, err
	}
	return paths{state: p.ConfigFile + stage.RecordSuffix, Config: process.Config{
		Paths: p, Binary: c.Binary, ReloadCommand: c.ReloadCmd, DrainTimeout: c.DrainTimeout,
	}}, nil
}

// dir returns the directory of the main file and its companions.
func (p paths) dir() string { return filepath.Dir(p.ConfigFile) }

// place returns the files of doc with their paths.
func (p paths) place(doc sdk.Document) ([]stage.File, error) {
	return stage.Place(p.ConfigFile, doc, p.PidFile, p.MasterSocket, p.state, p.BaseFile, p.AdminSocket, p.OutputFile)
}
