package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

func TestCrash_DaemonKilled(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitInSync()
	env.eventually("healthy", env.healthy)
	worker, plugin := env.workerPID(), env.pluginPID()
	load := env.startLoad(8000)
	env.kill()
	env.eventually("the plugin ends with its daemon", func() bool { return commandLine(plugin) == "" }) // also as a zombie
	env.waitAnswer(8000, "a")
	env.start()
	env.eventually("healthy", env.healthy)
	if now := env.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: the running HAProxy was not adopted", worker, now)
	}
	load.wantNoFailures(t)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}

func TestCrash_PluginKilled(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitInSync()
	env.eventually("healthy", env.healthy)
	worker, plugin := env.workerPID(), env.pluginPID()
	load := env.startLoad(8000)
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.eventually("another plugin", func() bool { now := env.pluginPID(); return now != 0 && now != plugin })
	env.eventually("healthy again", env.healthy)
	if now := env.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: the running HAProxy was not adopted", worker, now)
	}
	load.wantNoFailures(t)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}

func TestCrash_HAProxyKilled(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"master", "worker"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.startInstance("web", "a", 8000)
			env.start()
			env.eventually("healthy", env.healthy)
			env.waitAnswer(8000, "a")
			victim := env.masterPID()
			if who == "worker" {
				victim = env.workerPID()
			}
			began := time.Now()
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			unhealthy := false
			env.eventually("HAProxy answers again", func() bool {
				if _, err := env.get(8000); err == nil {
					return env.workerPID() != victim && env.masterPID() != victim
				}
				// While HAProxy does not answer, the daemon must not be healthy, unless HAProxy is back by the time of the
				// request.
				if code, _ := env.health(); code == http.StatusInternalServerError {
					unhealthy = true
				}
				return false
			})
			t.Logf("back after %s; health reported it: %v", time.Since(began).Round(time.Millisecond), unhealthy)
			env.eventually("healthy again", env.healthy)
		})
	}
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
	env.waitLogged("worker=") // which it adopted
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
			env.eventually("the restart is logged", func() bool {
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
