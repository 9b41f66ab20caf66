package daemon

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

// folderMode allows HAProxy, which may run as another user, to read its configuration, and nobody else to write it.
const folderMode = 0o755

// Modes of access(2).
const (
	accessWrite  = 2
	accessSearch = 1
)

// forEachHAProxySink calls f with the name and the configuration of each HAProxy sink. It skips blocks that cannot be decoded;
// the sink reports those.
func forEachHAProxySink(cfg *config.Config, f func(name string, sink haproxy.Config)) {
	for _, name := range sortedKeys(cfg.Sinks) {
		sink := haproxy.Defaults()
		if cfg.Sinks[name].Type == typeHAProxy && sdk.Decode(cfg.Sinks[name].Block, &sink) == nil {
			f(name, sink)
		}
	}
}

// makeFolders creates the missing folders of HAProxy's files.
func makeFolders(cfg *config.Config) error {
	var faults error
	forEachHAProxySink(cfg, func(name string, sink haproxy.Config) {
		for key, file := range map[string]string{"config_file": sink.ConfigFile, "pid_file": sink.PidFile} {
			if err := os.MkdirAll(filepath.Dir(file), folderMode); file != "" && err != nil {
				faults = errors.Join(faults, withTable("sinks", name, sdk.Faults{{Key: key, Problem: folderProblem(file, err)}}))
			}
		}
	})
	return faults
}

// checkEnvironment returns an error for each folder and program that a HAProxy sink needs and that is missing. It creates
// nothing.
func checkEnvironment(cfg *config.Config) []error {
	var faults []error
	forEachHAProxySink(cfg, func(name string, sink haproxy.Config) {
		report := func(key, problem string) {
			faults = append(faults, withTable("sinks", name, sdk.Faults{{Key: key, Problem: problem}}))
		}
		// A file that is mounted into a folder is written in place, so the folder need not be writable.
		err := checkWritable(filepath.Dir(sink.ConfigFile))
		if err != nil && syscall.Access(sink.ConfigFile, accessWrite) != nil {
			report("config_file", folderProblem(sink.ConfigFile, err))
		}
		if err := checkWritable(filepath.Dir(sink.PidFile)); err != nil {
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
	return fmt.Sprintf("names %s, whose folder cannot be written to: %v; create it, or name another file", file, err)
}

// checkWritable returns why no file can be created in the folder or, if it is missing, why it cannot be created.
func checkWritable(folder string) error {
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
		if err := syscall.Access(folder, accessWrite|accessSearch); err != nil {
			return &fs.PathError{Op: "write to", Path: folder, Err: err}
		}
		return nil
	}
}
