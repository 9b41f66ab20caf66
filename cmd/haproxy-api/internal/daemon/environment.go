package daemon

import (
	"errors"
	"fmt"
	"os/exec"

	"github.com/haproxy-api/haproxy-api/engine/config"
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

// checkEnvironment returns an error for each folder and program that the built-in sinks and the state store need and that is
// missing. It creates nothing.
func checkEnvironment(cfg *config.Config) []error {
	var faults []error
	folders := sinkFolders(cfg, func(string) bool { return false })
	if cfg.API.StateDir != "" {
		folders = append(folders, stateFolder(cfg.API.StateDir))
	}
	for _, folder := range folders {
		if _, err := folder.check(); err != nil {
			faults = append(faults, err)
		}
	}
	forEachHAProxySink(cfg, func(name string, sink haproxy.Config) {
		if _, err := exec.LookPath(sink.Binary); err != nil && sink.Mode == haproxy.ModeManaged {
			faults = append(faults, withTable("sinks", name, sdk.Faults{{Key: "binary", Problem: fmt.Sprintf(
				"names %s, which cannot be run: %v; install HAProxy or correct the path", sink.Binary, errors.Unwrap(err))}}))
		}
	})
	return faults
}
