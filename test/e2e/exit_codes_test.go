package e2e_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A cliCommand is a command with arguments with which it succeeds if there is a valid configuration and a daemon.
type cliCommand struct {
	name    string   // as in "plugin list"
	args    []string // in a directory with writeCommandFiles
	loads   bool     // it loads the configuration
	queries bool     // it queries the daemon
	reports bool     // it has --output text|json
	slow    bool     // it does not end by itself
}

// cliCommands are all commands. TestExitCodes_CoverEachCommand finds those that are missing.
var cliCommands = []cliCommand{
	{name: "", loads: true, slow: true},
	{name: "run", loads: true, slow: true},
	{name: "render", args: []string{"--state", "state.json"}, loads: true},
	{name: "check", args: []string{"--state", "state.json"}, reports: true},
	{name: "diff", args: []string{"--state", "state.json"}, loads: true, reports: true},
	{name: "status", loads: true, queries: true, reports: true},
	{name: "explain", loads: true, queries: true, reports: true},
	{name: "history", loads: true, queries: true, reports: true},
	{name: "config", loads: true, reports: true},
	{name: "template"},
	{name: "template functions", reports: true},
	{name: "template test", args: []string{"cases"}, loads: true, reports: true},
	{name: "plugin"},
	{name: "plugin list", loads: true, reports: true},
	{name: "plugin doctor", args: []string{"--kind", "source", "/bin/false"}, reports: true},
	{name: "plugin new", args: []string{"sink", "note", "new"}},
	{name: "completion", args: []string{"bash"}},
	{name: "version", reports: true},
	{name: "demo", slow: true},
}

// A cliResult is how a command ended.
type cliResult struct {
	code           int // -1 if a signal ended it
	signal         syscall.Signal
	stdout, stderr string
}

func exitOf(t *testing.T, cmd *exec.Cmd, err error) cliResult {
	t.Helper()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	result := cliResult{code: cmd.ProcessState.ExitCode()}
	if status.Signaled() {
		result.signal = status.Signal()
	}
	return result
}

// runCLI runs haproxy-api in the directory. stdout receives its output; nil for the result.
func runCLI(t *testing.T, directory string, stdout *os.File, args ...string) cliResult {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "haproxy-api", args...)
	cmd.Dir = directory
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if stdout != nil {
		cmd.Stdout = stdout
	}
	result := exitOf(t, cmd, cmd.Run())
	result.stdout, result.stderr = out.String(), errOut.String()
	return result
}

// with returns the arguments for the command with others before it and after it.
func (c cliCommand) with(before []string, after ...string) []string {
	return slices.Concat(before, strings.Fields(c.name), c.args, after)
}

// writeCommandFiles writes what the commands need to a directory: a configuration whose daemon does not run, a state and a case.
func writeCommandFiles(t *testing.T) (directory string) {
	t.Helper()
	directory = t.TempDir()
	for name, content := range map[string]string{
		"haproxy-api.toml": "[haproxy_api]\nbind_ip = \"" + freshIP() + "\"\n[haproxy]\ntemplate = \"t.cfg\"\n" +
			"config_file = \"haproxy.cfg\"\npid_file = \"haproxy.pid\"\n",
		"invalid.toml":         "[haproxy]\nconfig_fiel = \"haproxy.cfg\"\n",
		"t.cfg":                "# nothing\n",
		"state.json":           `{"Servers": {}}`,
		"cases/one/state.json": `{"Servers": {}}`,
		"cases/one/want.cfg":   "# nothing\n",
	} {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func TestExitCodes_CoverEachCommand(t *testing.T) {
	directory := t.TempDir()
	if r := runCLI(t, directory, nil, "man", directory); r.code != 0 {
		t.Fatal(r)
	}
	pages, err := filepath.Glob(filepath.Join(directory, "*.1"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	var covered []string
	for _, c := range cliCommands {
		covered = append(covered, strings.ReplaceAll(strings.TrimSpace("haproxy-api "+c.name), " ", "-")+".1")
	}
	for _, page := range pages {
		if !slices.Contains(covered, filepath.Base(page)) {
			t.Errorf("no test has the command of %s", filepath.Base(page))
		}
	}
}

// TestExitCodes_OfWrongUsage checks that each fault in the command line or in the configuration ends every command with 2, one
// or two lines on standard error and nothing on standard output.
func TestExitCodes_OfWrongUsage(t *testing.T) {
	t.Parallel()
	directory := writeCommandFiles(t)
	for _, c := range cliCommands {
		type fault struct {
			name string
			args []string
			hint string // in the error
		}
		faults := []fault{
			{"unknown flag", c.with(nil, "--log-levels", "info"), "--log-level"},
			{"unknown flag with one dash", c.with(nil, "-log-level", "info"), "--log-level"},
			{"too many arguments", c.with(nil, "one", "two"), "--help"},
		}
		if c.loads {
			faults = append(faults,
				fault{"missing file", c.with([]string{"-f", "missing.toml"}), "missing.toml"},
				fault{"unknown key", c.with([]string{"-f", "invalid.toml"}), "config_file"},
				fault{"unknown key in --set", c.with([]string{"--set", "haproxy.config_fiel=x"}), "config_file"})
		}
		if c.reports {
			faults = append(faults, fault{"unknown output", c.with(nil, "--output", "yaml"), "json"})
		}
		for _, fault := range faults {
			t.Run(strings.TrimSpace(c.name+" "+fault.name), func(t *testing.T) {
				r := runCLI(t, directory, nil, fault.args...)
				if r.code != 2 || r.stdout != "" || strings.Count(r.stderr, "\n") > 2 || !strings.Contains(r.stderr, fault.hint) {
					t.Errorf("haproxy-api %q: exit code %d\n%s%s", fault.args, r.code, r.stdout, r.stderr)
				}
			})
		}
	}
}

// TestExitCodes_OfUnreachableDaemon checks that every command that needs the daemon ends with 1 if there is none.
func TestExitCodes_OfUnreachableDaemon(t *testing.T) {
	t.Parallel()
	directory := writeCommandFiles(t)
	for _, args := range [][]string{{"status"}, {"explain"}, {"history"}, {"diff"}, {"check", "--live"}} {
		r := runCLI(t, directory, nil, args...)
		quiet := r.stdout == "" || args[0] == "check" // which prints what it has read
		if r.code != 1 || !quiet || !strings.Contains(r.stderr, "--address") {
			t.Errorf("haproxy-api %q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}

// TestExitCodes_OfUnwritableOutput checks that a command whose output cannot be written does not say that it is done.
func TestExitCodes_OfUnwritableOutput(t *testing.T) {
	t.Parallel()
	directory := writeCommandFiles(t)
	for _, c := range cliCommands {
		if c.slow || c.queries {
			continue
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if r := runCLI(t, directory, full, c.with(nil)...); r.code != 1 || r.stderr == "" {
			t.Errorf("%q to a full device: exit code %d\n%s", c.name, r.code, r.stderr)
		}
		if r := runCLI(t, directory, full, c.with(nil, "--help")...); r.code != 1 || r.stderr == "" {
			t.Errorf("the help of %q to a full device: exit code %d\n%s", c.name, r.code, r.stderr)
		}
		full.Close()

		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		read.Close()
		r := runCLI(t, directory, write, c.with(nil)...)
		if r.signal != syscall.SIGPIPE && r.code != 1 || strings.Contains(r.stderr, "panic") {
			t.Errorf("%q to a closed pipe: exit code %d, signal %v\n%s", c.name, r.code, r.signal, r.stderr)
		}
		write.Close()
	}
}

// TestExitCodes_OfInterruptedCommand checks that Ctrl-C ends a command that runs until then with 0, and one that has not done its
// work with 1.
func TestExitCodes_OfInterruptedCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"render", "--state"}, 1},
		{[]string{"check", "--state"}, 1},
		{[]string{"diff", "--state"}, 1},
		{[]string{"status", "--address"}, 1},
		{[]string{"history", "--address"}, 1},
		{[]string{"status", "--watch", "--address"}, 0},
	} {
		asked := make(chan struct{}, 10)
		silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		t.Cleanup(silent.Close)
		cmd := exec.CommandContext(t.Context(), "haproxy-api", append(test.args, silent.URL)...)
		cmd.Dir = writeCommandFiles(t)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-asked:
		case <-t.Context().Done():
			t.Fatal("the test ended before the command asked")
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if r := exitOf(t, cmd, cmd.Wait()); r.code != test.want || stdout.Len() > 0 {
			t.Errorf("interrupted haproxy-api %q: exit code %d, want %d\n%s%s", test.args, r.code, test.want, &stdout, &stderr)
		}
		if test.want == 1 && !strings.Contains(stderr.String(), "interrupted") && test.args[0] != "check" {
			t.Errorf("interrupted haproxy-api %q: %s", test.args, &stderr)
		}
	}
}
