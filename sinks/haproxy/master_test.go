package haproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// fakeMaster answers on the rig's master socket in the place of a HAProxy, for which it has another program with the same
// options.
func (r *rig) fakeMaster(answer func(command string, pid int) string) (m *managed, pid int) {
	r.t.Helper()
	check(r.t, os.WriteFile(r.cfg.ConfigFile, nil, 0o600))
	r.cfg.Binary = "tail"
	process := exec.Command(r.cfg.Binary, "-f", r.cfg.ConfigFile)
	check(r.t, process.Start())
	p, err := r.cfg.paths()
	check(r.t, err)
	listener, err := net.Listen("unix", p.socket)
	check(r.t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			command, _ := bufio.NewReader(conn).ReadString('\n')
			_, _ = io.WriteString(conn, answer(strings.TrimSpace(command), process.Process.Pid))
			_ = conn.Close()
		}
	}()
	r.t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	m = newManaged(r.cfg, p, slog.New(slog.DiscardHandler), nil, runtimeapi.NewInfos(nil, runtimeapi.InfoTimeout))
	eventually(r.t, "the command line is there", func() bool { return p.started(process.Process.Pid, r.cfg.Binary) })
	return m, process.Process.Pid
}

// procAnswer is an answer to "show proc".
func procAnswer(master, reloads, failed, worker int) string {
	return fmt.Sprintf("#<PID> <type> <reloads> <uptime> <version>\n%d master %d [failed: %d] 0d00h00m01s 2.6\n"+
		"# workers\n%d worker 0 0d00h00m01s 2.6\n", master, reloads, failed, worker)
}

// A reload is over only when the new worker has answered for itself, whatever is heard before that.
func TestReloadBelievesOnlyTheNewWorker(t *testing.T) {
	r := newRig(t)
	const oldWorker, newWorker = 1001, 1002
	var asked []string
	steps := 0
	m, master := r.fakeMaster(func(command string, pid int) string {
		asked = append(asked, command)
		steps++
		switch {
		case command == "reload":
			return "Succ"
		case command == "show proc" && steps < 4:
			return procAnswer(pid, 1, 0, newWorker)[:70] // broke off
		case command == "show proc" && steps < 6:
			return procAnswer(pid, 0, 0, oldWorker) // from before
		case command == "show proc":
			return procAnswer(pid, 1, 0, newWorker)
		case steps < 9:
			return fmt.Sprintf("Pid: %d\nStopping: 0\n", oldWorker) // the wrong worker
		case steps < 11:
			return fmt.Sprintf("Pid: %d\nStopping: 1\n", newWorker)
		default:
			return fmt.Sprintf("Pid: %d\nStopping: 0\n", newWorker)
		}
	})
	got, err := m.reload(t.Context(), procs{master: master, workers: []int{oldWorker}})
	check(t, err)
	if got.now.worker != newWorker || got.now.pids[0] != master {
		t.Errorf("the reload ended with %+v", got.now)
	}
	if last := asked[len(asked)-1]; last != "@!1002 show info" || steps < 11 {
		t.Errorf("it was believed after %q", asked)
	}
}

func TestReloadThatIsRefused(t *testing.T) {
	r := newRig(t)
	m, master := r.fakeMaster(func(string, int) string {
		return "Success=0\n--\n[NOTICE] (1) : x\n[ALERT] (1) : no port\n"
	})
	_, err := m.reload(t.Context(), procs{master: master, workers: []int{1001}})
	wantError(t, err, "keeps the one before", "no port")
	if details := detailsOf(err); len(details) != 1 || !strings.Contains(details[0], "no port") {
		t.Errorf("details are %q", details)
	}
}

func TestReloadOfAnotherMaster(t *testing.T) {
	r := newRig(t)
	m, _ := r.fakeMaster(func(_ string, pid int) string { return procAnswer(pid, 1, 0, 1002) })
	_, err := m.reload(t.Context(), procs{master: os.Getpid(), workers: []int{1001}})
	wantError(t, err, "before the reload and is")
}

// A question ends with its context, also where the other side says nothing at all.
func TestSilentMaster(t *testing.T) {
	r := newRig(t)
	p, err := r.cfg.paths()
	check(t, err)
	listener, err := net.Listen("unix", p.socket)
	check(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = masterSocket{p.socket}.ask(ctx, "show proc")
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a question without an answer ended with %v", err)
	}
}
