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
func (s *site) logged(text string) {
	s.t.Helper()
	s.eventually("the log tells: "+text, func() bool { return strings.Contains(s.log.String(), text) })
}

func TestAPluginKilledBeforeTheFileFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := s.newGate()
	s.serve("web", "a", 8000)
	s.start("--set", g.program())
	s.agrees()
	load := s.load(8000)
	before, plugin := s.read("haproxy.cfg"), s.pluginPID()

	g.close()
	t.Cleanup(g.open)
	s.serve("web", "b", 8000)
	s.runs(s.converged())
	g.reached()
	if s.read("haproxy.cfg") != before {
		t.Error("the file was written before it was checked")
	}
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.eventually("another plugin", func() bool { now := s.pluginPID(); return now != 0 && now != plugin })
	s.logged("the running HAProxy serves something else than the file says")
	g.open()
	s.agrees()
	s.answered(8000, "b")
	load.unharmed(t)
	s.eventually("healthy", s.healthy)
}

func TestAWorkerKilledInABatch(t *testing.T) {
	t.Parallel()
	const many, attempts = 300, 10
	s := newSite(t)
	first := s.serve("web", "a", 8000)
	s.start()
	s.agrees()
	s.log.reset()
	for attempt := range attempts {
		before := s.servers().serving()
		worker := s.workerPID()
		s.sidecar.Burst(func(b *sidecartest.Batch) {
			for n := range many {
				one := first
				one.ID = fmt.Sprintf("batch%d-%d", attempt, n)
				b.Add(one)
			}
		})
		seen := 0
		s.eventually("new servers", func() bool { seen = len(s.servers()) - len(before); return seen > 0 })
		if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.converged()
		s.eventually("another worker", func() bool { now := s.workerPID(); return now != 0 && now != worker })
		s.eventually("healthy", s.healthy)
		load := s.load(8000)
		s.agrees()
		s.answered(8000, "a")
		load.unharmed(t)
		t.Logf("the worker was killed when it had %d of %d new servers", seen, many)
		if seen < many {
			s.eventually("the log tells of it", func() bool {
				return strings.Contains(s.log.String(), "HAProxy ended; starting it again") ||
					strings.Contains(s.log.String(), "HAProxy was not running")
			})
			return
		}
	}
	t.Errorf("in %d attempts no worker was killed in the middle of the batch", attempts)
}

func TestADaemonKilledInAStreamOfChanges(t *testing.T) {
	t.Parallel()
	const lives, changes = 5, 30
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t)
	s.serve("web", "a", 8000)
	one := s.serve("web", "b", 8000)
	s.start()
	s.agrees()
	load := s.load(8000)
	for range lives {
		deadly := random.IntN(changes)
		for n := range changes {
			s.sidecar.Burst(func(b *sidecartest.Batch) {
				b.Remove(one.Hostname, one.ID)
				one.ID = fmt.Sprintf("b%d", random.Uint32())
				b.Add(one)
			})
			if n == deadly {
				s.kill()
				s.start()
			} else if random.IntN(3) == 0 {
				s.converged()
			}
		}
		s.agrees()
	}
	load.unharmed(t)
	s.eventually("healthy", s.healthy)
}
