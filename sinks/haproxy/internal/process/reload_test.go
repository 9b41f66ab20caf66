package process

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

// fakeMaster returns a controller for a HAProxy whose master socket answers what the function returns. Another program with the
// same options is its process.
func fakeMaster(t *testing.T, answer func(command string, pid int) string) (m *Managed, pid int) {
	t.Helper()
	cfg := testConfig(t)
	cfg.Binary = "tail"
	check(t, os.WriteFile(cfg.ConfigFile, nil, 0o600))
	process := exec.Command(cfg.Binary, "-f", cfg.ConfigFile)
	check(t, process.Start())
	listener, err := net.Listen("unix", cfg.MasterSocket)
	check(t, err)
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
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	m = NewManaged(cfg, slog.New(slog.DiscardHandler), nil, runtimeapi.NewInfos(nil, runtimeapi.InfoTimeout))
	eventually(t, "the process has its command line", func() bool { return cfg.owns(process.Process.Pid) })
	return m, process.Process.Pid
}

// wantLoadError checks that err is a [LoadError] whose message has all the words, since several reasons have that type.
func wantLoadError(t *testing.T, err error, words ...string) {
	t.Helper()
	if _, ok := errors.AsType[*LoadError](err); !ok {
		t.Fatalf("got %v, want a LoadError", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want %q in it", err, word)
		}
	}
}

// procAnswer is an answer to "show proc".
func procAnswer(master, reloads, failed, worker int) string {
	return fmt.Sprintf("#<PID> <type> <reloads> <uptime> <version>\n%d master %d [failed: %d] 0d00h00m01s 2.6\n"+
		"# workers\n%d worker 0 0d00h00m01s 2.6\n", master, reloads, failed, worker)
}

// A reload is over only when the new worker has answered under its own process id, whatever the master answers before that.
func TestReload_EndsWhenTheNewWorkerAnswers(t *testing.T) {
	const oldWorker, newWorker = 1001, 1002
	var asked []string
	steps := 0
	m, master := fakeMaster(t, func(command string, pid int) string {
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
	got, err := m.reload(t.Context(), processList{master: master, workers: []int{oldWorker}})
	check(t, err)
	if got.Instance.Worker != newWorker || got.Instance.Pids[0] != master {
		t.Errorf("the reload ended with %+v", got.Instance)
	}
	if last := asked[len(asked)-1]; last != "@!1002 show info" || steps < 11 {
		t.Errorf("the reload ended after %q", asked)
	}
}

func TestReload_Failed(t *testing.T) {
	m, master := fakeMaster(t, func(string, int) string {
		return "Success=0\n--\n[NOTICE] (1) : x\n[ALERT] (1) : no port\n"
	})
	_, err := m.reload(t.Context(), processList{master: master, workers: []int{1001}})
	if log := LogOf(err); len(log) != 1 || !strings.Contains(log[0], "no port") {
		t.Errorf("got %v with the log %q", err, log)
	}
	wantLoadError(t, err, "keeps the previous one", "no port")
}

func TestReload_OfAnotherMaster(t *testing.T) {
	m, _ := fakeMaster(t, func(_ string, pid int) string { return procAnswer(pid, 1, 0, 1002) })
	_, err := m.reload(t.Context(), processList{master: os.Getpid(), workers: []int{1001}})
	wantLoadError(t, err, "before the reload and is")
}

// A request ends with its context where the master never answers.
func TestListProcesses_MasterDoesNotAnswer(t *testing.T) {
	socket := testConfig(t).MasterSocket
	listener, err := net.Listen("unix", socket)
	check(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = masterSocket(socket).listProcesses(ctx)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a request without an answer ended with %v", err)
	}
}

func TestReloadWait_WithoutANewWorker(t *testing.T) {
	before := processList{master: 1, reloads: 4, failed: 1, workers: []int{10}}
	for _, test := range []struct {
		name   string
		now    processList
		failed bool
	}{
		{"not taken yet", processList{master: 1, reloads: 4, failed: 1, workers: []int{10}}, false},
		{"failed", processList{master: 1, reloads: 5, failed: 2, workers: []int{10}}, true},
		{"failed, on a version that does not count", processList{master: 1, reloads: 5, failed: -1, workers: []int{10}}, true},
		{"loading, on a version that answers", processList{master: 1, reloads: 5, failed: 0, workers: []int{10}}, false},
	} {
		w := &reloadWait{Managed: &Managed{ResponseTimeout: defaultResponseTimeout}, before: before}
		if err := w.checkFailed(test.now); (err != nil) != test.failed {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	w := &reloadWait{Managed: &Managed{ResponseTimeout: -1}, before: before}
	wantLoadError(t, w.checkFailed(before), "has started no new worker")
}
