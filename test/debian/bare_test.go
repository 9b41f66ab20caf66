//go:build linux

package debian_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

// runAsUser runs make run as a terminal does, in a process group of its own, as a user who may use sudo. Then it lists the
// processes that are left, and what is new in directories that packages do not write to.
const runAsUser = `
files() { find /home /root /tmp /var/tmp /usr/local /opt /srv -xdev -path /home/user/haproxy-api -prune -o -print | sort; }
files > /before
runuser -u user -- bash -c 'cd ~/haproxy-api && exec setsid --wait make run' || true
for process in /proc/[0-9]*; do
	case $(basename "$process") in 1 | $$ | $BASHPID) continue ;; esac
	line=$(tr '\0' ' ' < "$process/cmdline" 2>/dev/null) || continue
	[ -z "$line" ] || echo "LEFT process: $line"
done
files | comm -13 /before - | sed 's/^/LEFT file: /'
`

// A user needs git, make and sudo to run the demo on a minimal Debian. Ctrl-C leaves only the checkout and Debian's packages.
func TestMakeRun_BareDebian(t *testing.T) {
	m := debiantest.New(t)
	m.MustRun(t, `
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git make sudo
		useradd --create-home --shell /bin/bash user
		echo 'user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/user`)
	copyLocalCertificates(t, m)
	clone(t, filepath.Join(m.Root, "home/user/haproxy-api"))
	m.MustRun(t, "chown -R user: /home/user")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	run := m.Command(ctx, "bash", "-c", runAsUser)
	var out debiantest.Output
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	answered := false
	for !answered {
		select {
		case err := <-ended:
			t.Fatalf("make run ended: %v\n%s", err, out.String())
		case <-time.After(time.Second):
			answered = demoAnswers(out.String())
		}
	}
	interrupt(t, m)
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "LEFT ") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if !strings.Contains(out.String(), "HAProxy, Sidecar and services are stopped.") {
		t.Errorf("the demo has not stopped:\n%s", out.String())
	}
	status := m.Command(ctx, "runuser", "-u", "user", "--", "git", "-C", "/home/user/haproxy-api", "status", "--porcelain")
	if untracked, err := status.Output(); err != nil || len(untracked) > 0 {
		t.Errorf("not ignored by git: %v\n%s", err, untracked)
	}
}

// clone clones the commit of this checkout into dir.
func clone(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "--no-hardlinks", "../..", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// copyLocalCertificates gives the machine the certificate authorities that the administrator of this one has added.
func copyLocalCertificates(t *testing.T, m *debiantest.Machine) {
	t.Helper()
	const dir = "/usr/local/share/ca-certificates"
	files, _ := filepath.Glob(dir + "/*.crt")
	for _, file := range files {
		m.Copy(t, file, file)
	}
}

// exampleURL is the address in the example of a command that the demo prints.
var exampleURL = regexp.MustCompile(`curl (http://127\.0\.0\.1:\d+/)`)

// demoAnswers reports whether the address that the demo has printed answers.
func demoAnswers(out string) bool {
	found := exampleURL.FindStringSubmatch(out)
	if found == nil {
		return false
	}
	resp, err := http.Get(found[1]) //nolint:noctx // the test has a limit
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && bytes.Contains(body, []byte(" on node-"))
}

// interrupt sends SIGINT to the process group of make, as a terminal does on Ctrl-C.
func interrupt(t *testing.T, m *debiantest.Machine) {
	t.Helper()
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		dir := filepath.Dir(name)
		comm, _ := os.ReadFile(name)
		if root, err := os.Stat(dir + "/root"); err != nil || string(comm) != "make\n" || !sameFile(root, m.Root) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			continue // a make that this one has started
		}
		if err := syscall.Kill(-pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("make does not run in the machine")
}

func sameFile(info os.FileInfo, path string) bool {
	other, err := os.Stat(path)
	return err == nil && os.SameFile(info, other)
}
