package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestReapOrphans_CollectsThemAndNothingElse is about a process of its own, which inherits orphans like process 1 does.
func TestReapOrphans_CollectsThemAndNothingElse(t *testing.T) {
	if out, err := exec.Command("inherit-orphans").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// inheritOrphans ends with a fault unless orphans are collected, and processes of its own are left to who waits for them.
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
	reaper.Go(func() { reapOrphans(ctx) })
	for range 4 {
		own.Go(func() {
			for range 50 {
				if err := exec.Command("true").Run(); err != nil {
					fail("collected what somebody waits for:", err)
				}
			}
		})
	}
	own.Wait()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(orphan); err != nil {
			break
		}
		if time.Now().After(deadline) {
			fail("the orphan is still there")
		}
	}
	cancel()
	reaper.Wait()
	if left := zombies(); len(left) > 0 {
		fail("left:", left)
	}
}
