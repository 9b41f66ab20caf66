package docs_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// waitLimit is how long a session waits for a block. It is generous, because tests do not measure time.
const waitLimit = 3 * time.Minute

// A session is one shell in which the commands of a document run in their order, as a reader types them.
//
// The shell has processes, a network and files of its own: the document can use its real ports and paths, and whatever it leaves
// running ends with it. Changes of files below the directories in private are discarded.
type session struct {
	// setup is a script that provides what the reader has before the first block.
	setup string
	// directory is the directory in the repository that the reader is in; default an empty one outside.
	directory string
	// ready is a command that succeeds once the program of a block with the role "runs" is up. The default asks haproxy-api.
	ready string
}

// private lists the directories whose files a session can change for itself only. The repository is another one.
var private = []string{"/etc", "/home", "/opt", "/run", "/srv", "/usr", "/var"}

// prologue prepares the namespaces of a session. HOME is a directory of the test.
const prologue = `
upper=$HOME/.private
mkdir "$upper" && mount -t tmpfs tmpfs "$upper"
for dir in $PRIVATE; do
	[ -d "$dir" ] || continue
	mkdir -p "$upper/changed$dir" "$upper/work$dir"
	mount -t overlay overlay -o "lowerdir=$dir,upperdir=$upper/changed$dir,workdir=$upper/work$dir" "$dir"
done
ip link set lo up
command -v sudo >/dev/null || { printf '#!/bin/sh\nexec "$@"\n' >/usr/bin/sudo && chmod 755 /usr/bin/sudo; }
for program in go npm; do # They download what is missing. Descriptor 4 is the network of this machine.
	printf '#!/bin/sh\nexec nsenter --net=/proc/self/fd/4 %s "$@"\n' "$(command -v "$program")" >"/usr/local/sbin/$program"
	chmod 755 "/usr/local/sbin/$program"
done
PATH=/usr/local/sbin:$PATH
printf 'silent\nshow-error\n' >"$HOME/.curlrc" # no progress, as on a terminal
cd "$DIRECTORY"
`

// A runningSession is a session whose shell has been started.
type runningSession struct {
	session
	home     string
	stdin    *os.File
	done     *bufio.Reader // a line for each script that succeeded
	counted  int
	programs []string // the blocks that run until Ctrl-C
}

// run runs the blocks and returns the first fault.
func (s session) run(t *testing.T, blocks []block) error {
	t.Helper()
	needRoot(t)
	r, err := s.start(t)
	if err != nil {
		return err
	}
	output := ""
	for _, b := range blocks {
		switch {
		case b.file() != "":
			if err := s.checkFile(b); err != nil {
				return err
			}
			output, err = r.execute(b.writeScript())
		case b.language == "text":
			err = compareOutput(b.text, output)
		case b.role == "fails":
			output, err = r.execute("! bash -euo pipefail <<'END OF BLOCK'\n" + b.text + "END OF BLOCK\n")
		case b.role == "runs":
			output, err = r.background(b.text)
		default:
			output, err = r.execute(b.text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.at(), err)
		}
	}
	return r.interrupt()
}

// checkFile returns an error if the directory of the session has the file with another content.
func (s session) checkFile(b block) error {
	if s.directory == "" {
		return nil
	}
	name := filepath.Join(s.directory, b.file())
	content, err := os.ReadFile(filepath.Join(repository, name))
	if err == nil && strings.TrimSpace(string(content)) != strings.TrimSpace(b.text) {
		return fmt.Errorf("%s: the block differs from %s", b.at(), name)
	}
	return nil
}

// start starts the shell and runs the setup.
func (s session) start(t *testing.T) (*runningSession, error) {
	t.Helper()
	home := t.TempDir()
	root, err := filepath.Abs(repository)
	if err != nil {
		return nil, err
	}
	directory := filepath.Join(home, "work")
	if s.directory != "" {
		directory = filepath.Join(root, s.directory)
	} else if err := os.Mkdir(directory, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-euo", "pipefail", "-s")
	network, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer network.Close()
	input, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	done, reports, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	goEnv, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return nil, err
	}
	caches := strings.Fields(string(goEnv))
	cmd.Env = append(withoutSettings(os.Environ()), "HOME="+home, "DIRECTORY="+directory,
		"PRIVATE="+strings.Join(append(private, root), " "), "REPOSITORY="+root,
		"GOMODCACHE="+caches[0], "GOCACHE="+caches[1], "GOFLAGS=-buildvcs=false",
		"npm_config_cache="+filepath.Join(os.Getenv("HOME"), ".npm"))
	var shellErrors strings.Builder
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = input, &shellErrors, []*os.File{reports, network}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, _ = input.Close(), reports.Close()
	r := &runningSession{session: s, home: home, stdin: stdin, done: bufio.NewReader(done)}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = done.Close()
		if t.Failed() {
			t.Logf("the shell wrote:\n%s", shellErrors.String())
			for _, name := range r.programs {
				content, _ := os.ReadFile(name + ".out")
				t.Logf("%s wrote:\n%s", name, content)
			}
		}
	})
	if out, err := r.execute(prologue); err != nil {
		return nil, fmt.Errorf("preparing the session: %w\n%s", err, out)
	}
	if out, err := r.execute(s.setup); err != nil {
		return nil, fmt.Errorf("the setup of the session: %w\n%s", err, out)
	}
	return r, nil
}

// withoutSettings removes the variables that configure haproxy-api.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, variable := range environ {
		if !strings.HasPrefix(variable, "HAPROXY_API") && !strings.HasPrefix(variable, "CI=") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// execute runs a script in the shell itself, so that directories, variables and jobs of the shell remain. It returns the output.
func (r *runningSession) execute(script string) (string, error) {
	r.counted++
	name := filepath.Join(r.home, fmt.Sprintf("block-%d", r.counted))
	if err := os.WriteFile(name, []byte(script), 0o600); err != nil {
		return "", err
	}
	return r.command(name, fmt.Sprintf("source %s </dev/null >%s.out 2>&1 3>&-; echo >&3\n", name, name))
}

// background starts a script that runs until Ctrl-C, in a process group of its own as in another terminal.
func (r *runningSession) background(script string) (string, error) {
	r.counted++
	name := filepath.Join(r.home, fmt.Sprintf("block-%d", r.counted))
	if err := os.WriteFile(name, []byte(script), 0o600); err != nil {
		return "", err
	}
	r.programs = append(r.programs, name)
	ready := r.ready
	if ready == "" {
		ready = "curl -fsSo /dev/null http://127.0.0.1:7778/ready"
	}
	return r.command(name, fmt.Sprintf(`set -m
bash -euo pipefail %[1]s </dev/null >%[1]s.out 2>&1 3>&- &
set +m
running="${running:-} $!"
until { %[2]s; } 2>/dev/null; do kill -0 $! 2>/dev/null; sleep 0.05; done; echo >&3
`, name, ready))
}

// interrupt is Ctrl-C for what runs in the background. Its programs must end without an error, or with 130 as make does.
func (r *runningSession) interrupt() error {
	_, err := r.execute("for pid in ${running:-}; do kill -INT -- -$pid; wait $pid || [ $? = 130 ]; done\n")
	if err != nil {
		return fmt.Errorf("after Ctrl-C: %w", err)
	}
	return nil
}

// command passes a line to the shell, waits until it is done, and returns the output in the file name.out.
func (r *runningSession) command(name, line string) (string, error) {
	result := make(chan error, 1)
	go func() {
		_, err := r.stdin.WriteString(line)
		if err == nil {
			_, err = r.done.ReadString('\n')
		}
		result <- err
	}()
	var err error
	select {
	case err = <-result:
	case <-time.After(waitLimit):
		err = fmt.Errorf("no end after %v", waitLimit)
	}
	output, _ := os.ReadFile(name + ".out")
	if err != nil {
		script, _ := os.ReadFile(name)
		return string(output), fmt.Errorf("failed (%w):\n%s%s", err, script, output)
	}
	return string(output), nil
}

// needRoot skips a test that cannot have namespaces of its own. In continuous integration it fails.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("the sessions of the documents need root")
	default:
		t.Skip("the sessions of the documents need root")
	}
}
