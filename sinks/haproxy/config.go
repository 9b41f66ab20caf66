// Package haproxy makes documents live in HAProxy.
//
// A document is staged beside the live configuration, checked by HAProxy itself, renamed into place and taken over by
// the running HAProxy, which is then asked whether it really serves it. Whatever fails on the way puts the previous
// document back, on disk and in the process. HAProxy is started if none runs, adopted if one does, started again when
// it dies, and it outlives the process that this package runs in.
//
// HAProxy is run in one of two ways. Managed, it is a master with workers that is told what to do on its master socket.
// With commands, it is whatever the user's own reload command makes of it, and only its pid file is known.
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

// How HAProxy is run, in [Config.Mode].
const (
	ModeManaged = "managed"
	ModeCommand = "command"
)

// What becomes of HAProxy when the sink is stopped, in [Config.OnExit].
const (
	OnExitLeave = "leave"
	OnExitStop  = "stop"
)

// A Config is the sink's block of the configuration.
type Config struct {
	Binary         string        `json:"binary"`          // a name to find in PATH, or a path
	Mode           string        `json:"mode"`            // ModeManaged or ModeCommand; ReloadCmd implies the latter
	ConfigFile     string        `json:"config_file"`     // where the main file goes; companions go into its folder
	PidFile        string        `json:"pid_file"`        // where HAProxy writes its process id
	ReloadCmd      string        `json:"reload_cmd"`      // for bash; starts HAProxy too when none runs
	VerifyCmd      string        `json:"verify_cmd"`      // for bash; used instead of HAProxy's own check
	ReloadInterval time.Duration `json:"reload_interval"` // the least time between two reloads
	DrainTimeout   time.Duration `json:"drain_timeout"`   // how long what leaves may finish: servers, workers, HAProxy itself
	MaxOldWorkers  int           `json:"max_old_workers"` // how many workers that were replaced may stay; 0 for any number
	OnExit         string        `json:"on_exit"`         // OnExitLeave or OnExitStop
	Runtime        bool          `json:"runtime"`         // change the running HAProxy in place where that is enough
}

// Defaults returns what holds where the configuration says nothing. ConfigFile and PidFile have no default.
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

// Validate reports all faults at once, each one naming its key.
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

// byCommand reports whether the user's own command starts and reloads HAProxy.
func (c Config) byCommand() bool { return c.Mode == ModeCommand || c.ReloadCmd != "" }

// paths are the files of one HAProxy, and how it is run. All paths are absolute.
type paths struct {
	process.Config
	state string // the state file
}

func (c Config) paths() (paths, error) {
	p, err := process.PathsOf(c.ConfigFile, c.PidFile, c.ReloadCmd == "") // a command of the user's does without the master socket
	if err != nil {
		return paths{}, err
	}
	return paths{state: p.ConfigFile + stage.RecordSuffix, Config: process.Config{
		Paths: p, Binary: c.Binary, ByCommand: c.byCommand(), ReloadCommand: c.ReloadCmd, DrainTimeout: c.DrainTimeout,
	}}, nil
}

// dir is the folder of the main file and its companions.
func (p paths) dir() string { return filepath.Dir(p.ConfigFile) }

// place says where the files of doc go.
func (p paths) place(doc sdk.Document) ([]stage.File, error) {
	return stage.Place(p.ConfigFile, doc, p.PidFile, p.MasterSocket, p.state, p.BaseFile, p.AdminSocket, p.OutputFile)
}
