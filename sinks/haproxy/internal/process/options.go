package process

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// options are the command-line options of a HAProxy process that identify it.
type options struct {
	root    string   // its root directory, as a path for this process
	dir     string   // its working directory; empty if unknown
	files   []string // configuration files and directories
	pidFile string
	socket  string // the master socket, as it is written
	check   bool   // it only checks configuration files
}

// optionsOf reads the command line of a HAProxy. It returns the zero value for a process that has ended.
func optionsOf(pid int) options {
	args, err := procinfo.CommandLine(pid)
	if err != nil || len(args) == 0 {
		return options{}
	}
	o := options{root: procinfo.RootDir(pid)}
	o.dir, _ = procinfo.WorkingDir(pid)
	for i, arg := range args[1:] {
		value := ""
		if i+2 < len(args) {
			value = args[i+2]
		}
		switch arg {
		case "-f":
			o.files = append(o.files, value)
		case "--": // all that follow are configuration files
			o.files = append(o.files, args[i+2:]...)
			return o
		case "-p":
			o.pidFile = value
		case "-S":
			o.socket, _, _ = strings.Cut(strings.TrimPrefix(value, "unix@"), ",")
		case "-C":
			o.dir = value
		case "-c":
			o.check = true
		}
	}
	return o
}

// loads reports whether the process reads the configuration file at path. Of a directory, HAProxy reads the files whose names end
// in .cfg.
func (o options) loads(path string) bool {
	return slices.ContainsFunc(o.files, func(file string) bool {
		return o.names(file, path) || filepath.Ext(path) == ".cfg" && o.names(file, filepath.Dir(path))
	})
}

func (o options) hasPidFile(path string) bool { return o.pidFile != "" && o.names(o.pidFile, path) }

// names reports whether an argument names the file at path, also through a symbolic link or from another mount namespace.
func (o options) names(arg, path string) bool {
	if !filepath.IsAbs(arg) {
		if o.dir == "" { // unknown, so the last element has to be enough
			return filepath.Base(arg) == filepath.Base(path)
		}
		arg = filepath.Join(o.dir, arg)
	}
	arg = filepath.Clean(arg)
	if arg == path && o.sharesRoot() { // without reading the file, which may be replaced at this moment
		return true
	}
	named, err := os.Stat(o.root + arg)
	if err != nil {
		return false
	}
	wanted, err := os.Stat(path)
	return err == nil && os.SameFile(named, wanted)
}

// sharesRoot reports whether the process has the same root directory as this one, so that equal paths are equal files. It
// returns true if that is unknown.
func (o options) sharesRoot() bool {
	theirs, err := os.Stat(o.root + "/")
	if err != nil {
		return true
	}
	ours, err := os.Stat("/")
	return err == nil && os.SameFile(theirs, ours)
}
