package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// folderMode lets HAProxy, which may run as another user, read its configuration, and nobody else write it.
const folderMode = 0o755

// haproxySinks calls f with the name and the configuration of each HAProxy sink. A block that is wrong is its owner's to report.
func haproxySinks(cfg *config.Config, f func(name string, sink haproxy.Config)) {
	for _, name := range sortedKeys(cfg.Sinks) {
		sink := haproxy.Defaults()
		if cfg.Sinks[name].Type == "haproxy" && sdk.Decode(cfg.Sinks[name].Block, &sink) == nil {
			f(name, sink)
		}
	}
}

// makeFolders makes the folders that HAProxy's files are written to, where they are missing.
func makeFolders(cfg *config.Config) error {
	var faults error
	haproxySinks(cfg, func(name string, sink haproxy.Config) {
		for key, file := range map[string]string{"config_file": sink.ConfigFile, "pid_file": sink.PidFile} {
			if err := os.MkdirAll(filepath.Dir(file), folderMode); file != "" && err != nil {
				faults = errors.Join(faults, place("sinks", name, sdk.Faults{{Key: key, Problem: folderProblem(file, err)}}))
			}
		}
	})
	return faults
}

// checkEnvironment reports what HAProxy sinks would lack at the start, and makes nothing.
func checkEnvironment(cfg *config.Config) []error {
	var faults []error
	haproxySinks(cfg, func(name string, sink haproxy.Config) {
		report := func(key, problem string) {
			faults = append(faults, place("sinks", name, sdk.Faults{{Key: key, Problem: problem}}))
		}
		// A file that is mounted into a folder is written in place.
		const write = 2
		if err := writable(filepath.Dir(sink.ConfigFile)); err != nil && syscall.Access(sink.ConfigFile, write) != nil {
			report("config_file", folderProblem(sink.ConfigFile, err))
		}
		if err := writable(filepath.Dir(sink.PidFile)); err != nil {
			report("pid_file", folderProblem(sink.PidFile, err))
		}
		if _, err := exec.LookPath(sink.Binary); err != nil && sink.Mode == haproxy.ModeManaged {
			report("binary", fmt.Sprintf("names %s, which cannot be run: %v; install HAProxy or correct the path",
				sink.Binary, errors.Unwrap(err)))
		}
	})
	return faults
}

func folderProblem(file string, err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", path.Path, path.Err)
	}
	return fmt.Sprintf("names %s, whose folder cannot be written to: %v; make it, or name another file", file, err)
}

// writable returns why nothing can be written to the folder, or, where it is missing, why it cannot be made.
func writable(folder string) error {
	for {
		info, err := os.Stat(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder):
			folder = filepath.Dir(folder)
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return &fs.PathError{Op: "write to", Path: folder, Err: syscall.ENOTDIR}
		}
		const write, search = 2, 1
		if err := syscall.Access(folder, write|search); err != nil {
			return &fs.PathError{Op: "write to", Path: folder, Err: err}
		}
		return nil
	}
}
