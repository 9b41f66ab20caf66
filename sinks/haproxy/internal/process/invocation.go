package haproxy

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

// An invocation is how HAProxy is started, or how a master that runs loads its files again. The check of a document has to read
// it in the same way.
type invocation struct {
	program string
	args    []string
	dir     string            // the working directory; empty for ours
	env     map[string]string // nil for ours
	reloads bool              // a master that runs executes itself again, as that process
}

// invocationOf returns how a process that runs was started, without the processes that it replaced.
func invocationOf(pid int) (invocation, error) {
	args, err := procinfo.CommandLine(pid)
	if err != nil {
		return invocation{}, err
	}
	dir, err := procinfo.WorkingDir(pid)
	if err != nil {
		return invocation{}, err
	}
	env, err := procinfo.Environment(pid)
	if err != nil {
		return invocation{}, err
	}
	for _, name := range masterVariables {
		delete(env, name)
	}
	return invocation{program: args[0], args: withoutReplaced(args[1:]), dir: dir, env: env}, nil
}

// masterVariables are those by which a master tells itself, across its own execution, what goes on.
var masterVariables = []string{
	"HAPROXY_MWORKER_REEXEC", "HAPROXY_MWORKER_WAIT_ONLY", "HAPROXY_PROCESSES", "HAPROXY_STARTUPLOGS_FD", "HAPROXY_LOAD_SUCCESS",
}

// withoutReplaced leaves out the options that a master changes each time it executes itself: -sf, -st and -x.
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

// replacing are the options with which HAProxy takes over from the processes in old. handsOver says that they hand their
// listening sockets over on the admin socket: HAProxy does not start where it cannot have them.
func (p paths) replacing(old []int, handsOver bool) []string {
	if len(old) == 0 {
		return nil
	}
	var options []string
	if handsOver {
		options = append(options, "-x", p.admin)
	}
	options = append(options, "-sf")
	for _, pid := range old {
		options = append(options, strconv.Itoa(pid))
	}
	return options
}

// master reports whether HAProxy is started with a master process.
func (l invocation) master() bool {
	return slices.Contains(l.args, "-W") || slices.Contains(l.args, "-Ws")
}

// reads reports whether the file is among those that HAProxy is started with.
func (l invocation) reads(path string) bool {
	return slices.ContainsFunc(l.checkArgs(map[string]string{path: "found"}), func(arg string) bool { return arg == "found" })
}

// check returns the command that checks what the invocation would load, with other files in the place of some.
func (l invocation) check(ctx context.Context, instead map[string]string, main []byte) program.Command {
	env := l.env
	// From 3.1 on a worker has this variable before it reads its configuration, but a check does not.
	if l.master() && bytes.Contains(main, []byte("HAPROXY_MWORKER")) && atLeast31(ctx, l.program) {
		if env == nil {
			env = procinfo.OwnEnvironment()
		}
		env["HAPROXY_MWORKER"] = "1"
	}
	c := program.Command{Name: l.program, Args: l.checkArgs(instead), Dir: l.dir}
	for name, value := range env {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

// checkArgs returns the options of a check. What only concerns the running process, or would silence the check, is left out.
func (l invocation) checkArgs(instead map[string]string) []string {
	checked := []string{"-c"}
	for i := 0; i < len(l.args); i++ {
		arg, value := l.args[i], ""
		if i+1 < len(l.args) {
			value = l.args[i+1]
		}
		switch arg {
		case "--":
			for _, file := range l.args[i+1:] {
				checked = append(checked, l.fileArgs(file, instead)...)
			}
			return checked
		case "-f":
			checked = append(checked, l.fileArgs(value, instead)...)
			i++
		case "-n", "-m", "-N", "-L":
			checked = append(checked, arg, value)
			i++
		case "-S", "-p", "-C": // -C has led to the working directory already
			i++
		case "-D", "-V", "-q", "-d", "-db":
		default:
			checked = append(checked, arg)
		}
	}
	return checked
}

// fileArgs names a file, or the files of a folder as HAProxy takes them, with others in the place of some.
func (l invocation) fileArgs(name string, instead map[string]string) []string {
	if name != "" && !filepath.IsAbs(name) && l.dir != "" {
		name = filepath.Join(l.dir, name)
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

// atLeast31 reports whether the program is HAProxy 3.1 or a newer one.
func atLeast31(ctx context.Context, name string) bool {
	o, err := program.Run(ctx, name, "-v")
	if err != nil {
		return false
	}
	_, version, _ := strings.Cut(o.Output, "version ")
	major, minor := runtimeapi.ParseVersion(version)
	return major > 3 || major == 3 && minor >= 1
}

// outdated says why a reload by the running master would load config in another way than l, as which HAProxy would be
// started now, and "" if it would not or nobody can tell.
//
// A master keeps its options, its folder and its environment over reloads. Up to 3.0 it even keeps what setenv and presetenv
// in the configurations so far have made of the environment. What resetenv takes from it are its notes about its workers,
// so that it becomes a second HAProxy.
func (l invocation) outdated(master invocation, config *syntax.Config) string {
	script := isScript(l.program) // it may start HAProxy in another way than we see
	is, want := withoutBackground(master.args), withoutBackground(l.args)
	switch {
	case !slices.Equal(is[max(0, len(is)-len(want)):], want), !script && len(is) > len(want):
		return "the running master has other options: " + strings.Join(master.args, " ")
	case !script && master.program != l.program:
		return "the running master is another program: " + master.program
	case !script && !sameFile(master.dir, "."):
		return "the running master has another working directory: " + master.dir
	case config.ResetsEnvironment():
		return "resetenv makes a master lose its workers when it reloads"
	}
	if variable := config.DifferentVariable(master.env, procinfo.OwnEnvironment()); variable != "" {
		return "the running master has another value of the environment variable " + variable
	}
	return ""
}

// withoutBackground leaves out what makes no difference to a process that runs.
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

// environmentDigest identifies the values that the variables in config have for a process of ours; it is empty where there
// are none.
func environmentDigest(config *syntax.Config) string {
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

// staleVariable returns a variable whose value in the environment of a running master comes from a configuration before, so
// that config is read otherwise than after a start, and "" if there is none. What else a start would find is not known.
func staleVariable(env map[string]string, before, config *syntax.Config) string {
	fresh := maps.Clone(env)
	for _, name := range before.AssignedVariables() {
		delete(fresh, name)
	}
	return config.DifferentVariable(env, fresh)
}
