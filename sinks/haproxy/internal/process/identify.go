package process

import (
	"path/filepath"
	"regexp"
	"slices"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// Own returns those of pids that are running HAProxy processes which were started for the files of c. Any other process was
// given the id after HAProxy had ended.
func (c Config) Own(pids []int) []int {
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !procinfo.Exists(pid) || !c.owns(pid) })
}

// owns reports whether pid is a HAProxy whose command line names the configuration file or the pid file.
func (c Config) owns(pid int) bool {
	if !isHAProxy(pid, c.Binary) {
		return false
	}
	options := optionsOf(pid)
	return !options.check && (options.loads(c.ConfigFile) || options.hasPidFile(c.PidFile))
}

// startedWithBase reports whether pid is a HAProxy that was started with the base file, which only this package passes to
// HAProxy. A HAProxy that another program, such as a service manager, has started with the configuration file was not.
func (c Config) startedWithBase(pid int) bool {
	if !isHAProxy(pid, c.Binary) {
		return false
	}
	options := optionsOf(pid)
	return !options.check && slices.ContainsFunc(options.files, func(file string) bool { return options.names(file, c.BaseFile) })
}

// loads reports whether pid was started with the configuration file: a master loads that one at every reload.
func (p Paths) loads(pid int) bool { return optionsOf(pid).loads(p.ConfigFile) }

// hasMasterSocket reports whether pid was started with the master socket.
func (p Paths) hasMasterSocket(pid int) bool { return optionsOf(pid).socket == p.MasterSocket }

// haproxyName matches the names that HAProxy's program has in packages, such as haproxy, haproxy24 and hapee-2.8-lb. It does
// not match programs that deal with HAProxy, such as haproxy-api and haproxy_exporter.
var haproxyName = regexp.MustCompile(`^(haproxy|hapee)([-_.]?[0-9][-_.0-9a-z]*)?$`)

// isHAProxy reports whether the executable that runs as pid is HAProxy. An editor that has the configuration file among its
// arguments is not.
func isHAProxy(pid int, binary string) bool {
	return isHAProxyName(procinfo.ProgramName(pid), binaryNames(binary))
}

func isHAProxyName(program string, names []string) bool {
	return slices.Contains(names, program) || haproxyName.MatchString(program)
}

// binaryNames returns the names under which the configured program can run.
func binaryNames(binary string) []string {
	names := []string{filepath.Base(binary)}
	if found, err := FindBinary(binary); err == nil {
		if resolved, err := filepath.EvalSymlinks(found); err == nil {
			names = append(names, filepath.Base(resolved))
		}
	}
	return names
}
