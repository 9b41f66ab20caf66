package haproxy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A reply is the response to one request.
type reply struct {
	from       string // the server's address, or the status where none has answered
	connection string // between HAProxy and the server
	form       string // what that connection looked like, and what HAProxy adds to the answer
}

// request sends one request through s.
func (s side) request(client *http.Client, port int, path string) reply {
	got, err := client.Get(fmt.Sprintf("http://%s0.1:%d%s", s.prefix, port, path))
	if err != nil {
		return reply{from: "closed"}
	}
	defer got.Body.Close()
	_, _ = io.Copy(io.Discard, got.Body)
	from := got.Header.Get("X-Server")
	if from == "" {
		from = got.Status
	}
	var form strings.Builder
	for _, header := range []string{"X-Form", "X-Id", "X-Name", "X-Quoted", "X-Env", "X-Up", "X-Conn", "X-Is"} {
		if value := got.Header.Get(header); value != "" {
			fmt.Fprintf(&form, "%s: %s; ", header, value)
		}
	}
	common := func(text string) string { return strings.ReplaceAll(text, s.prefix, commonPrefix) }
	return reply{common(from), got.Header.Get("X-Connection"), common(form.String())}
}

// requests sends n requests, each on a connection of its own or all on one.
func (s side) requests(n, port int, path string, keepAlive bool) []reply {
	transport := &http.Transport{DisableKeepAlives: !keepAlive}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var answers []reply
	for range n {
		answers = append(answers, s.request(client, port, path))
	}
	return answers
}

// forms describes the connections to the servers of a service, by the address of the server.
func (s side) forms(service *service) map[string]string {
	forms := map[string]string{}
	for _, a := range s.requests(min(2*len(service.servers), 10), service.port, "/probe", false) {
		forms[a.from] = a.form
	}
	return forms
}

// differentForms compares the servers that have answered on both sides.
func differentForms(fresh, running side, service *service) string {
	want, got := fresh.forms(service), running.forms(service)
	inBoth := func(address, _ string) bool { return want[address] == "" || got[address] == "" }
	maps.DeleteFunc(want, inBoth)
	maps.DeleteFunc(got, inBoth)
	return different(want, got)
}

// differentChecks compares the checks that the servers see, and their results. It waits until the fresh HAProxy has
// checked most servers, and for as long as the running one may need for the same.
func (p *property) differentChecks(fresh, running side) string {
	start := time.Now()
	for {
		time.Sleep(100 * time.Millisecond)
		waited := time.Since(start)
		freshHealth, runningHealth := fresh.health(p.t), running.health(p.t)
		pending := withoutPending(freshHealth, runningHealth)
		seen, got := p.recorder.checksOf(freshPrefix), p.recorder.checksOf(mainPrefix)
		maps.DeleteFunc(got, func(address string, _ checked) bool { return !p.mentions(mainPrefix + address) })
		diff := different(freshHealth, runningHealth) + different(comparableChecks(seen, got))
		if diff == "" && (!pending || waited > 1500*time.Millisecond) && waited > 700*time.Millisecond {
			return ""
		}
		if waited > 15*time.Second {
			return diff
		}
	}
}

// mentions reports whether the file has that address, with the port or without.
func (p *property) mentions(address string) bool {
	host, _, _ := strings.Cut(address, ":")
	return slices.ContainsFunc(strings.Fields(p.onDisk()), func(word string) bool {
		return word == host || strings.HasPrefix(word, host+":")
	})
}

// withoutPending removes the servers that the fresh HAProxy has not checked yet, and those that are in only one of the
// two. It reports whether there are some of the former.
func withoutPending(fresh, running map[string]string) bool {
	pending := false
	maps.DeleteFunc(fresh, func(id, health string) bool {
		unknown := strings.Contains(health, "INI")
		pending = pending || unknown
		return unknown || running[id] == ""
	})
	maps.DeleteFunc(running, func(id, _ string) bool { return fresh[id] == "" })
	return pending
}

// comparableChecks returns the checks of the servers that the fresh HAProxy has checked. It has done so often or not.
func comparableChecks(fresh, running map[string]checked) (want, got map[string]string) {
	want, got = map[string]string{}, map[string]string{}
	for address, c := range running {
		if c.count >= 3 { // a check that only connects is not seen at all
			want[address], got[address] = fresh[address].form, c.form
		}
	}
	for address, c := range fresh {
		is, seen := running[address]
		if c.count < 4 && !seen {
			continue // the only check was before the first count
		}
		want[address], got[address] = c.form, is.form
		if c.count >= 4 {
			want[address] += ", often"
		}
		if c.count >= 4 && is.count >= 4 {
			got[address] += ", often"
		}
	}
	return want, got
}

// differentReuse compares which servers get several requests on one connection.
func differentReuse(fresh, running side, service *service) string {
	reuse := func(s side) map[string]string {
		connections, requests := map[string]map[string]bool{}, map[string]int{}
		for range 2 {
			for _, a := range s.requests(3*len(service.servers), service.port, "/probe", true) {
				if connections[a.from] == nil {
					connections[a.from] = map[string]bool{}
				}
				connections[a.from][a.connection] = true
				requests[a.from]++
			}
		}
		reuse := map[string]string{}
		for address, used := range connections {
			switch n := requests[address]; {
			case n < 4 || used[""]:
			case len(used) == n:
				reuse[address] = "no reuse"
			default:
				reuse[address] = "reuse"
			}
		}
		return reuse
	}
	want, got := reuse(fresh), reuse(running)
	inBoth := func(address, _ string) bool { return want[address] == "" || got[address] == "" }
	maps.DeleteFunc(want, inBoth)
	maps.DeleteFunc(got, inBoth)
	return different(want, got)
}

// warmsUp reports whether a server of the service still gets less than its share, which slowstart gives to a server that
// is added at run time, and not to one of the start.
func (s side) warmsUp(t *testing.T, service *service) bool {
	t.Helper()
	return slices.ContainsFunc(statistics(t, s.ask("show stat -1 4 -1")[0]), func(row map[string]string) bool {
		return row["pxname"] == service.name && row["throttle"] != "" && row["throttle"] != "100%"
	})
}

// differentDistribution compares how often each server is used. With roundrobin that is exact except for where the turn
// begins, otherwise it distinguishes servers that are used from those that hardly are.
func differentDistribution(fresh, running side, service *service) string {
	n := 6 * len(service.servers)
	if strings.HasPrefix(service.balance, "random") {
		n = 40 * len(service.servers)
	}
	count := func(s side) map[string]int {
		counts := map[string]int{}
		for _, a := range s.requests(n, service.port, "/probe", false) {
			counts[a.from]++
		}
		return counts
	}
	want, got := count(fresh), count(running)
	plenty := n / (2 * max(1, len(service.servers)))
	for address := range maps.All(merged(want, got)) {
		more, less := max(want[address], got[address]), min(want[address], got[address])
		if more >= plenty && less < (more+4)/5 {
			return different(want, got)
		}
	}
	return ""
}

// different returns the entries in which two maps differ, one per line.
func different[V comparable](fresh, running map[string]V) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(merged(fresh, running))) {
		if want, got := fresh[key], running[key]; want != got {
			fmt.Fprintf(&b, "%s: fresh %v, running %v\n", key, want, got)
		}
	}
	return b.String()
}

func merged[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// differentAfterErrors compares which servers are still in use after they have answered with errors.
func differentAfterErrors(t *testing.T, fresh, running side, service *service) string {
	t.Helper()
	_ = fresh.requests(6*len(service.servers), service.port, "/probe/failed", false)
	_ = running.requests(6*len(service.servers), service.port, "/probe/failed", false)
	want, got := fresh.health(t), running.health(t)
	other := func(id, _ string) bool {
		return !strings.HasPrefix(id, service.name+"/") || want[id] == "" || got[id] == ""
	}
	maps.DeleteFunc(want, other)
	maps.DeleteFunc(got, other)
	diff := different(want, got)
	for id, health := range got {
		if strings.HasPrefix(health, "DOWN") {
			running.ask("set server " + id + " health up")
		}
	}
	return diff
}
