package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// logged waits for a word in the daemon's log.
func (env *testEnv) waitLogged(text string) {
	env.t.Helper()
	env.eventually("the log tells: "+text, func() bool { return strings.Contains(env.log.String(), text) })
}

func TestCrash_PluginKilledBeforePersist(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	b := env.newBarrier()
	env.startInstance("web", "a", 8000)
	env.start("--set", b.haproxyOption())
	env.waitInSync()
	load := env.startLoad(8000)
	before, plugin := env.read("haproxy.cfg"), env.pluginPID()

	b.block()
	t.Cleanup(b.release)
	env.startInstance("web", "b", 8000)
	env.wantServers(env.waitApplied())
	b.waitReached()
	if env.read("haproxy.cfg") != before {
		t.Error("the file was written before it was checked")
	}
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.eventually("another plugin", func() bool { now := env.pluginPID(); return now != 0 && now != plugin })
	env.waitLogged("the running HAProxy serves something else than the file says")
	b.release()
	env.waitInSync()
	env.waitAnswer(8000, "b")
	load.wantNoFailures(t)
	env.eventually("healthy", env.healthy)
}

func TestCrash_WorkerKilledDuringBatch(t *testing.T) {
	t.Parallel()
	const many, attempts = 300, 10
	env := newTestEnv(t)
	first := env.startInstance("web", "a", 8000)
	env.start()
	env.waitInSync()
	env.log.reset()
	for attempt := range attempts {
		before := env.servers().serving()
		worker := env.workerPID()
		env.sidecar.Burst(func(b *sidecartest.Batch) {
			for n := range many {
				one := first
				one.ID = fmt.Sprintf("batch%d-%d", attempt, n)
				b.Add(one)
			}
		})
		seen := 0
		env.eventually("new servers", func() bool { seen = len(env.servers()) - len(before); return seen > 0 })
		if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		env.waitApplied()
		env.eventually("another worker", func() bool { now := env.workerPID(); return now != 0 && now != worker })
		env.eventually("healthy", env.healthy)
		load := env.startLoad(8000)
		env.waitInSync()
		env.waitAnswer(8000, "a")
		load.wantNoFailures(t)
		t.Logf("the worker was killed when it had %d of %d new servers", seen, many)
		if seen < many {
			env.eventually("the log tells of it", func() bool {
				return strings.Contains(env.log.String(), "HAProxy ended; starting it again") ||
					strings.Contains(env.log.String(), "HAProxy was not running")
			})
			return
		}
	}
	t.Errorf("in %d attempts no worker was killed in the middle of the batch", attempts)
}

func TestCrash_DaemonKilledDuringChanges(t *testing.T) {
	t.Parallel()
	const lives, changes = 5, 30
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	one := env.startInstance("web", "b", 8000)
	env.start()
	env.waitInSync()
	load := env.startLoad(8000)
	for range lives {
		deadly := random.IntN(changes)
		for n := range changes {
			env.sidecar.Burst(func(b *sidecartest.Batch) {
				b.Remove(one.Hostname, one.ID)
				one.ID = fmt.Sprintf("b%d", random.Uint32())
				b.Add(one)
			})
			if n == deadly {
				env.kill()
				env.start()
			} else if random.IntN(3) == 0 {
				env.waitApplied()
			}
		}
		env.waitInSync()
	}
	load.wantNoFailures(t)
	env.eventually("healthy", env.healthy)
}
