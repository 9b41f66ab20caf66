package process

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// An Invocation is how HAProxy is started, or how a running master loads its files again. A check has to read a configuration
// in the same way.
type Invocation struct {
	Program string
	Args    []string
	Dir     string            // the working directory; empty for that of this process
	Env     map[string]string // nil for that of this process
	Reloads bool              // a running master that does not belong to the sink executes itself again
}

// invocationOf returns how a running process was started, without the processes that it replaced.
func invocationOf(pid int) (Invocation, error) {
	args, err := procinfo.CommandLine(pid)
	if err != nil {
		return Invocation{}, err
	}
	dir, err := procinfo.WorkingDir(pid)
	if err != nil {
		return Invocation{}, err
	}
	env, err := procinfo.Environment(pid)
	if err != nil {
		return Invocation{}, err
	}
	for _, name := range masterVariables {
		delete(env, name)
	}
	return Invocation{Program: args[0], Args: withoutReplaced(args[1:]), Dir: dir, Env: env}, nil
}

// masterVariables are those in which a master keeps its state while it executes itself again.
var masterVariables = []string{
	"HAPROXY_MWORKER_REEXEC", "HAPROXY_MWORKER_WAIT_ONLY", "HAPROXY_PROCESSES", "HAPROXY_STARTUPLOGS_FD", "HAPROXY_LOAD_SUCCESS",
}

// withoutReplaced removes the options that a master changes each time it executes itself: -sf, -st and -x.
func withoutReplaced(args []string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-sf", "-st":
			for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
			}
		case "-x":
			i++
		default:
			kept = append(kept, args[i])
		}
	}
	return kept
}

// replacing returns the options with which HAProxy replaces the processes in old. handsOver says that they hand their listening
// sockets over on the admin socket: HAProxy does not start if it is told to take them over and cannot.
func (p Paths) replacing(old []int, handsOver bool) []string {
	if len(old) == 0 {
		return nil
	}
	var options []string
	if handsOver {
		options = append(options, "-x", p.AdminSocket)
	}
	options = append(options, "-sf")
	for _, pid := range old {
		options = append(options, strconv.Itoa(pid))
	}
	return options
}

// hasMaster reports whether HAProxy is started with a master process.
func (i Invocation) hasMaster() bool {
	return slices.Contains(i.Args, "-W") || slices.Contains(i.Args, "-Ws")
}

// reads reports whether the file is among those that HAProxy is started with.
func (i Invocation) reads(path string) bool {
	return slices.ContainsFunc(i.Files(), func(file string) bool { return sameFile(file, path) })
}

// CheckCommand returns the command that checks what the invocation would load, with the files in instead replaced. main is the
// content of the main configuration file.
func (i Invocation) CheckCommand(ctx context.Context, instead map[string]string, main []byte) program.Command {
	env := i.Env
	// From 3.1 on a worker has this variable when it reads its configuration, but a check does not.
	if i.hasMaster() && bytes.Contains(main, []byte("HAPROXY_MWORKER")) && atLeast31(ctx, i.Program) {
		if env == nil {
			env = procinfo.OwnEnvironment()
		}
		env["HAPROXY_MWORKER"] = "1"
	}
	c := program.Command{Name: i.Program, Args: i.checkArgs(instead), Dir: i.Dir}
	for name, value := range env {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

// Files returns the configuration files that HAProxy is started with, those in directories included.
func (i Invocation) Files() []string {
	var files []string
	args := i.checkArgs(nil)
	for n, arg := range args {
		if arg == "-f" && n+1 < len(args) {
			files = append(files, args[n+1])
		}
	}
	return files
}

// checkArgs returns the options of a check. It leaves out those that only concern a running process or would silence the check.
func (i Invocation) checkArgs(instead map[string]string) []string {
	checked := []string{"-c"}
	for n := 0; n < len(i.Args); n++ {
		arg, value := i.Args[n], ""
		if n+1 < len(i.Args) {
			value = i.Args[n+1]
		}
		switch arg {
		case "--":
			for _, file := range i.Args[n+1:] {
				checked = append(checked, i.fileArgs(file, instead)...)
			}
			return checked
		case "-f":
			checked = append(checked, i.fileArgs(value, instead)...)
			n++
		case "-n", "-m", "-N", "-L":
			checked = append(checked, arg, value)
			n++
		case "-S", "-p", "-C": // -C has led to the working directory already
			n++
		case "-D", "-V", "-q", "-d", "-db":
		default:
			checked = append(checked, arg)
		}
	}
	return checked
}

// fileArgs returns the options for a file, or for the files of a directory in the order in which HAProxy reads them, with the
// files in instead replaced.
func (i Invocation) fileArgs(name string, instead map[string]string) []string {
	if name != "" && !filepath.IsAbs(name) && i.Dir != "" {
		name = filepath.Join(i.Dir, name)
	}
	files := []string{name}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(globQuoted(name), "[^.]*.cfg")) // in the order of their names
	}
	var args []string
	for _, file := range files {
		args = append(args, "-f", replacement(file, instead))
	}
	return args
}

var globQuote = strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`)

func globQuoted(path string) string { return globQuote.Replace(path) }

func replacement(file string, instead map[string]string) string {
	for path, other := range instead {
		if sameFile(file, path) {
			return other
		}
	}
	return file
}

func sameFile(one, other string) bool {
	if filepath.Clean(one) == other {
		return true
	}
	a, err := os.Stat(one)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}

// atLeast31 reports whether the program is HAProxy 3.1 or newer.
func atLeast31(ctx context.Context, name string) bool {
	o, err := program.Run(ctx, name, "-v")
	if err != nil {
		return false
	}
	_, version, _ := strings.Cut(o.Output, "version ")
	major, minor := runtimeapi.ParseVersion(version)
	return major > 3 || major == 3 && minor >= 1
}

// restartReason returns why a reload by the running master would load config in another way than HAProxy would if it were
// started now, as i. It returns "" if there is no such reason or none is known.
//
// A master keeps its options, its working directory and its environment over reloads. Up to 3.0 it keeps the changes that
// setenv and presetenv of earlier configurations made to the environment as well. resetenv removes the variables in which the
// master keeps its workers, so that it becomes a second HAProxy.
func (i Invocation) restartReason(master Invocation, config *syntax.Config) string {
	script := isScript(i.Program) // it may start HAProxy with other options
	is, want := withoutBackground(master.Args), withoutBackground(i.Args)
	switch {
	case !slices.Equal(is[max(0, len(is)-len(want)):], want), !script && len(is) > len(want):
		return "the running master has other options: " + strings.Join(master.Args, " ")
	case !script && master.Program != i.Program:
		return "the running master is another program: " + master.Program
	case !script && !sameFile(master.Dir, "."):
		return "the running master has another working directory: " + master.Dir
	case config.ResetsEnvironment():
		return "resetenv makes a master lose its workers when it reloads"
	}
	if variable := config.DifferentVariable(master.Env, procinfo.OwnEnvironment()); variable != "" {
		return "the running master has another value of the environment variable " + variable
	}
	return ""
}

// withoutBackground removes the options that say whether HAProxy goes into the background.
func withoutBackground(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "-D" || arg == "-db" })
}

func isScript(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	start := make([]byte, 2)
	_, err = file.Read(start)
	return err == nil && string(start) == "#!"
}

// EnvironmentDigest identifies the values that the variables in config have in the environment of this process. It is empty for a
// configuration without variables.
func EnvironmentDigest(config *syntax.Config) string {
	env := procinfo.OwnEnvironment()
	var values []string
	for _, name := range config.Variables() {
		value, set := env[name]
		values = append(values, fmt.Sprintf("%s=%t%s", name, set, value))
	}
	if len(values) == 0 {
		return ""
	}
	return stage.Sum([]byte(strings.Join(values, "\x00")))
}

// staleVariable returns a variable whose value in the environment of a running master comes from an earlier configuration, so
// that a reload reads config in another way than a start, or "" if there is none. It does not know which environment the start
// would have.
func staleVariable(env map[string]string, before, config *syntax.Config) string {
	fresh := maps.Clone(env)
	for _, name := range before.AssignedVariables() {
		delete(fresh, name)
	}
	return config.DifferentVariable(env, fresh)
}
