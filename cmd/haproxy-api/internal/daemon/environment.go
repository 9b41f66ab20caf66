package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/statestore"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
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

// isOfOtherUser reports whether root checks a directory that belongs to another user, as which the daemon may run.
func isOfOtherUser(directory string) bool {
	info, err := os.Stat(directory)
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0
}

// checkEnvironment returns an error for each directory and program that the built-in sinks and the state store need and that is
// missing. It creates nothing, and notes the directories that the daemon would create.
func (c *Checker) checkEnvironment() []error {
	var faults []error
	directories := sinkDirectories(c.cfg, func(string) bool { return false })
	if dir := c.cfg.API.StateDir; dir != "" {
		directories = append(directories, stateDirectory(dir))
	}
	for _, directory := range directories {
		missing, err := directory.check()
		switch {
		case err != nil:
			faults = append(faults, err)
		case missing != "":
			c.note(fmt.Sprintf("%s: the daemon creates the directory %s", directory.key, directory.path))
		case directory.file == "" && isOfOtherUser(directory.path):
			c.note(fmt.Sprintf("%s: %s belongs to another user; if the daemon runs as that user, run check as that user too",
				directory.key, directory.path))
		case directory.file == "":
			if err := statestore.Check(directory.path); err != nil {
				faults = append(faults, err)
			}
		}
	}
	forEachHAProxySink(c.cfg, func(name string, sink haproxy.Config) {
		if _, err := exec.LookPath(sink.Binary); err != nil && sink.Mode == haproxy.ModeManaged {
			if sink.VerifyCmd == "" {
				c.withoutProgram = append(c.withoutProgram, name)
			}
			cause := errors.Unwrap(err)
			if pathError, ok := errors.AsType[*fs.PathError](cause); ok {
				cause = pathError.Err // without the path
			}
			faults = append(faults, withTable("sinks", name, sdk.Faults{{Key: "binary", Problem: fmt.Sprintf(
				"names %s, which cannot be run: %v; install HAProxy or correct the path", sink.Binary, cause)}}))
		}
	})
	return faults
}
