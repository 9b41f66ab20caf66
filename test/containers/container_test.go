//go:build linux

package containers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

// A container is a running image: the entrypoint as process 1, with the image's user, a read-only root, no capabilities and a
// network of its own.
type container struct {
	t     *testing.T
	netns netns
	cmd   *exec.Cmd
	log   debiantest.Output
	ended chan error
}

// A volume is mounted in a container. The source is a directory, which is read-only, or "tmpfs:" and options.
type volume struct{ target, source string }

// runScript is run by process 1 of new namespaces as root. Its arguments are the root, the user and group, the working directory,
// the number of volumes, each volume's target and source, and the command with its environment.
const runScript = `
root=$1 uid=$2 gid=$3 dir=$4 count=$5
shift 5
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for _ in $(seq "$count"); do
	case $2 in
	tmpfs:*) mount -t tmpfs -o "${2#tmpfs:}" tmpfs "$root$1" ;;
	*) mount --bind "$2" "$root$1" && mount -o remount,bind,ro "$root$1" ;;
	esac
	shift 2
done
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
	env -i --chdir="$dir" "$@"
`

// start starts a container of the image with more environment variables and with volumes. It is killed when the test ends.
func start(t *testing.T, image image, env []string, volumes []volume) *container {
	t.Helper()
	uid, gid, _ := strings.Cut(image.config.User, ":")
	args := []string{"-euc", runScript, "sh", image.root, uid, gid, image.config.WorkingDir, strconv.Itoa(len(volumes))}
	for _, v := range volumes {
		source := v.source
		if !strings.HasPrefix(source, "tmpfs:") {
			var err error
			if source, err = filepath.Abs(source); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, v.target, source)
	}
	args = append(args, image.config.Env...)
	args = append(append(args, env...), image.config.Entrypoint...)
	c := &container{t: t, netns: newNetns(t), ended: make(chan error, 1)}
	c.cmd = exec.Command("sh", args...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if err := c.netns.do(c.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the container's log:\n%s", c.log.String())
		}
		if c.ended != nil {
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
	})
	return c
}

// stop sends SIGTERM and fails the test unless process 1 exits with 0.
func (c *container) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		c.ended = nil
		if err != nil {
			c.t.Errorf("the container ended with %v", err)
		}
	case <-time.After(waitLimit):
		c.t.Fatal("the container does not end")
	}
}

// exec runs a command in the container as its user, and returns what it prints.
func (c *container) exec(args ...string) (string, error) {
	pid := strconv.Itoa(c.cmd.Process.Pid)
	args = append([]string{
		"--target", pid, "--all", "--root", "--wd", "setpriv", "--reuid=10001", "--regid=10001", "--clear-groups",
	}, args...)
	cmd := exec.CommandContext(c.t.Context(), "nsenter", args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	environ, err := os.ReadFile("/proc/" + pid + "/environ")
	if err == nil && len(environ) > 0 {
		cmd.Env = strings.Split(strings.TrimRight(string(environ), "\x00"), "\x00")
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually polls the condition until it is true, and fails the test if the container ends or after waitLimit.
func (c *container) eventually(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
		select {
		case err := <-c.ended:
			c.ended = nil
			c.t.Fatalf("the container ended with %v", err)
		default:
		}
	}
	c.t.Fatalf("still not after %v: %s", waitLimit, what)
}
