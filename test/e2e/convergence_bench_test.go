package e2e_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkConverge measures from the POST of one instance's change to the first answer from that instance through HAProxy, one
// change after the other, while heartbeats move; see [fleet]. Making the push is not counted. There are two yardsticks, measured
// beside it: one "haproxy -c" of that very configuration, and the same change made by hand over HAProxy's runtime API. MiB is
// what daemon and plugin have in memory at the end.
func BenchmarkConverge(b *testing.B) {
	for _, size := range []struct{ services, instances int }{{10, 5}, {500, 20}} {
		b.Run(fmt.Sprintf("services=%d/instances=%d", size.services, size.instances), func(b *testing.B) {
			c := newLargeCatalogue(b, size.services, size.instances)
			var took, posting []time.Duration
			before := c.metricSums()
			for b.Loop() {
				b.StopTimer()
				body := c.change()
				runtime.GC() // not while somebody is measured
				b.StartTimer()
				began := time.Now()
				c.push(body) // is answered once it is decoded
				posting = append(posting, time.Since(began))
				c.waitAnsweredByNewest()
				took = append(took, time.Since(began))
			}
			c.waitPersisted()
			after, memory := c.metricSums(), residentKiB(c.cmd.Process.Pid)+residentKiB(c.pluginPID())
			p50, check, raw := median(took), c.checkTime(), c.runtimeCommandTime()
			b.ReportMetric(milliseconds(p50), "p50_ms")
			b.ReportMetric(milliseconds(check), "haproxy-c_ms")
			b.ReportMetric(milliseconds(raw), "raw_ms")
			b.ReportMetric(float64(p50)/float64(check), "p50/haproxy-c")
			b.ReportMetric(float64(p50)/float64(raw), "p50/raw")
			b.ReportMetric(milliseconds(median(posting)), "post_ms")
			for what, since := range after {
				b.ReportMetric(1000*(since.seconds-before[what].seconds)/(since.count-before[what].count), what+"_ms")
			}
			b.ReportMetric(float64(memory)/1024, "MiB")
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// changedByHand is how long it takes from a command to HAProxy that moves the first service's server to the first answer from
// there. The daemon, which would take that back, is ended first.
func (c *largeCatalogue) runtimeCommandTime() time.Duration {
	c.t.Helper()
	c.stop()
	server := ""
	for id, is := range c.servers() {
		if !is.draining && strings.HasPrefix(id, c.instances[0].Name) {
			server = id
		}
	}
	worker := c.workerPID()
	var took []time.Duration
	for range 20 {
		c.changes++
		began := time.Now()
		c.askHAProxy("haproxy.master.sock", fmt.Sprintf("@!%d set server %s addr 127.0.0.1 port %d", worker, server, c.newest()))
		c.waitAnsweredByNewest()
		took = append(took, time.Since(began))
	}
	return median(took)
}

// checked is how long HAProxy takes to check the configuration that is in effect.
func (c *largeCatalogue) checkTime() time.Duration {
	c.t.Helper()
	var took []time.Duration
	for range 9 {
		began := time.Now()
		if out, err := exec.Command("haproxy", "-c", "-f", c.path(c.config)).CombinedOutput(); err != nil {
			c.t.Fatalf("%v: %s", err, out)
		}
		took = append(took, time.Since(began))
	}
	return median(took)
}

// A spending is for what the daemon took time, and how often.
type metricSum struct{ seconds, count float64 }

// spent is what the daemon's metrics tell of it.
func (c *largeCatalogue) metricSums() map[string]metricSum {
	c.t.Helper()
	resp, err := http.Get("http://" + c.apiAddress + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]metricSum{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, rest, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "haproxy_api_"), "{")
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		what, kind, timed := strings.Cut(name, "_seconds_")
		if err != nil || !timed || what != "render" && what != "apply" {
			continue
		}
		sum := all[what]
		switch kind {
		case "sum":
			sum.seconds += value
		case "count":
			sum.count += value
		}
		all[what] = sum
	}
	return all
}
