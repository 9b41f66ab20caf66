package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// inheritOrphansEnv makes the test binary run inheritOrphans instead of the tests.
const inheritOrphansEnv = "TEST_INHERIT_ORPHANS"

func TestMain(m *testing.M) {
	if os.Getenv(inheritOrphansEnv) != "" {
		inheritOrphans()
		return
	}
	if os.Getenv(stateDirPluginEnv) != "" {
		serveStateDirPlugin()
		return
	}
	m.Run()
}

// Without a pause the code that starts a process would have no time to wait for it.
func TestReap_PausesAfterSlowSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var searches int
		var ended time.Time
		reap(ctx, func() map[zombie]bool {
			if pause := time.Since(ended); searches > 0 && pause != reapInterval {
				t.Errorf("a pause of %v, want %v", pause, reapInterval)
			}
			time.Sleep(2 * reapInterval)
			if searches++; searches == 3 {
				cancel()
			}
			ended = time.Now()
			return nil
		})
	})
}

// The test uses a process of its own, which inherits orphans as process 1 does.
func TestReapOrphans_LeavesOtherProcesses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), inheritOrphansEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// inheritOrphans exits with 1 unless ReapOrphans reaps an orphan and leaves the processes that other goroutines wait for.
func inheritOrphans() {
	fail := func(what ...any) {
		fmt.Println(what...)
		os.Exit(1)
	}
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		fail(errno)
	}
	out, err := exec.Command("sh", "-c", "(exec sleep 0.1 > /dev/null) & echo $!").Output()
	if err != nil {
		fail(err)
	}
	orphan := "/proc/" + strings.TrimSpace(string(out))
	ctx, cancel := context.WithCancel(context.Background())
	var reaper, own sync.WaitGroup
	reaper.Go(func() { ReapOrphans(ctx) })
	for range 4 {
		own.Go(func() {
			for range 50 {
				if err := exec.Command("true").Run(); err != nil {
					fail("reaped a process that is waited for:", err)
				}
			}
		})
	}
	own.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(orphan); err != nil {
			break
		}
		if time.Now().After(deadline) {
			fail("the orphan was not reaped")
		}
	}
	cancel()
	reaper.Wait()
	if left := zombies(); len(left) > 0 {
		fail("left:", left)
	}
}
