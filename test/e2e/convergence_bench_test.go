package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkConverge measures the time from the POST of a change of one instance to the first answer of that instance through
// HAProxy, one change after the other, while timestamps move; see [largeCatalogue]. Creating the push is not measured. It
// compares this with one "haproxy -c" of the same configuration and with the same change through HAProxy's runtime API, both
// measured in the same run. RSS_MiB and PSS_MiB are the resident and the proportional memory of daemon and plugin at the end, and
// cpu_ms the processor time of both for one change, with the writes to disk.
func BenchmarkConverge(b *testing.B) {
	for _, size := range []struct{ services, instances int }{{10, 5}, {100, 10}, {500, 20}} {
		b.Run(fmt.Sprintf("services=%d/instances=%d", size.services, size.instances), func(b *testing.B) {
			c := newLargeCatalogue(b, size.services, size.instances)
			c.waitPersisted()
			cpu := c.processorTime()
			var took, posting []time.Duration
			before := c.metricSums()
			for b.Loop() {
				b.StopTimer()
				body := c.change()
				runtime.GC() // not during the measurement
				b.StartTimer()
				began := time.Now()
				c.push(body) // answered after decoding
				posting = append(posting, time.Since(began))
				c.waitAnsweredByNewest()
				took = append(took, time.Since(began))
			}
			c.waitPersisted()
			cpu = c.processorTime() - cpu
			after, daemon, plugin := c.metricSums(), c.cmd.Process.Pid, c.pluginPID()
			resident, proportional := residentKiB(daemon)+residentKiB(plugin), proportionalKiB(daemon)+proportionalKiB(plugin)
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
			b.ReportMetric(float64(resident)/1024, "RSS_MiB")
			b.ReportMetric(float64(proportional)/1024, "PSS_MiB")
			b.ReportMetric(milliseconds(cpu)/float64(len(took)), "cpu_ms")
		})
	}
}

// processorTime returns how long daemon and plugin have used a processor. The system counts it in hundredths of a second.
func (c *largeCatalogue) processorTime() time.Duration {
	c.t.Helper()
	ticks := 0
	for _, pid := range []int{c.cmd.Process.Pid, c.pluginPID()} {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			c.t.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third one on
		for _, field := range fields[11:13] {                                     // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				c.t.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkScrape measures how long the daemon takes to answer GET /metrics, with the health of its sink.
func BenchmarkScrape(b *testing.B) {
	for _, size := range []struct{ services, instances int }{{10, 5}, {500, 20}} {
		b.Run(fmt.Sprintf("services=%d/instances=%d", size.services, size.instances), func(b *testing.B) {
			c := newLargeCatalogue(b, size.services, size.instances)
			c.waitPersisted()
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := getBy(c.client, "http://"+c.apiAddress+"/metrics"); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			b.ReportMetric(milliseconds(median(took)), "p50_ms")
		})
	}
}

// runtimeCommandTime measures the time from a runtime command that changes the address of the first service's server to the first
// answer from there. It stops the daemon, which would revert that.
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

// checkTime measures HAProxy's check of the applied configuration.
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

// A metricSum is the sum and the count of a histogram.
type metricSum struct{ seconds, count float64 }

// metricSums returns the sums of the histograms of rendering and applying.
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
