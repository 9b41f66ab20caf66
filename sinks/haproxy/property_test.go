package haproxy

import (
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/cli"
)

// A world is a made-up catalogue that changes at random, and the document for it.
type world struct {
	rand     *rand.Rand
	ports    []int
	defaults string
	services []*service
	made     int
}

type service struct {
	name, mode, balance string
	port                int
	lines               []string
	servers             []*server
}

type server struct {
	name, address, options string
	weight, maxconn        int
	disabled               bool
}

func (w *world) pick(words ...string) string { return words[w.rand.IntN(len(words))] }

func (w *world) newServer() *server {
	w.made++
	return &server{
		name: fmt.Sprintf("s%d", w.made), address: fmt.Sprintf("127.0.0.%d:%d", 1+w.rand.IntN(9), 1+w.rand.IntN(60000)),
		options: w.options(), weight: 1,
	}
}

func (w *world) options() string {
	return w.pick("", "", "", "check", "check inter 50s rise 4", "backup", "check port 81 fall 7", "ssl verify none",
		"check cookie x", "cookie host-1", "check addr 127.0.0.3 check-ssl verify none ssl", "on-marked-down shutdown-sessions",
		"send-proxy-v2 check-send-proxy check", "init-addr none", "slowstart 10s check", "no-check", "maxqueue 5")
}

func (w *world) newService() *service {
	w.made++
	s := &service{name: fmt.Sprintf("svc%d", w.made), mode: w.pick("http", "http", "tcp"), port: w.ports[0]}
	w.ports = w.ports[1:]
	for range w.rand.IntN(4) {
		s.servers = append(s.servers, w.newServer())
	}
	return s
}

// change changes one thing. Most of the time that is about a server, as in life.
func (w *world) change() {
	s := w.services[w.rand.IntN(len(w.services))]
	var it *server
	if len(s.servers) > 0 {
		it = s.servers[w.rand.IntN(len(s.servers))]
	}
	switch n := w.rand.IntN(40); {
	case n < 12 || it == nil:
		s.servers = append(s.servers, w.newServer())
	case n < 20:
		s.servers = slices.DeleteFunc(s.servers, func(other *server) bool { return other == it })
	case n < 23:
		it.weight = w.rand.IntN(257)
	case n < 25:
		it.maxconn = w.rand.IntN(3) * 10
	case n < 28:
		it.disabled = !it.disabled
	case n < 31:
		it.address = w.newServer().address
	case n < 33:
		it.options = w.options()
	case n < 34:
		s.lines = []string{w.pick("option httpchk", "option redispatch", "default-server check rise 9", "cookie C insert",
			"default-server weight 7 maxconn 3 disabled", "use-server "+it.name+" if { src 127.0.0.9 }",
			"acl up srv_is_up("+s.name+"/"+it.name+")", "stick on src table "+s.name)}
		if strings.HasPrefix(s.lines[0], "stick") {
			s.lines = append(s.lines, "stick-table type ip size 10")
		}
	case n < 35:
		s.lines = nil
	case n < 36:
		s.balance = w.pick("", "leastconn", "source", "static-rr", "random(2)", "first")
	case n < 37:
		w.defaults = w.pick("", "default-server fall 5", "default-server init-addr none weight 3", "retries 2")
	case n < 38 && len(w.services) < 6:
		w.services = append(w.services, w.newService())
	case n < 39 && len(w.services) > 1:
		w.services = slices.DeleteFunc(w.services, func(other *service) bool { return other == s })
		w.ports = append(w.ports, s.port)
	default:
		w.ports = append(w.ports, s.port)
		s.port, w.ports = w.ports[0], w.ports[1:]
	}
}

func (w *world) document() sdk.Document {
	var b strings.Builder
	fmt.Fprintf(&b, "# rendered %d\ndefaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n %s\n",
		w.rand.Int(), w.defaults)
	for _, s := range w.services {
		fmt.Fprintf(&b, "frontend %s-in\n bind 127.0.0.1:%d\n mode %s\n default_backend %s\n", s.name, s.port, s.mode, s.name)
		fmt.Fprintf(&b, "backend %s\n mode %s\n", s.name, s.mode)
		if s.balance != "" {
			fmt.Fprintf(&b, " balance %s\n", s.balance)
		}
		for _, line := range s.lines {
			if !w.refersToNothing(s, line) {
				fmt.Fprintf(&b, " %s\n", line)
			}
		}
		for _, it := range s.servers {
			fmt.Fprintf(&b, " server %s %s %s", it.name, it.address, it.options)
			if it.weight != 1 {
				fmt.Fprintf(&b, " weight %d", it.weight)
			}
			if it.maxconn > 0 {
				fmt.Fprintf(&b, " maxconn %d", it.maxconn)
			}
			if it.disabled {
				b.WriteString(" disabled")
			}
			b.WriteString("\n")
		}
	}
	return documentOf(b.String())
}

// refersToNothing reports whether a line is about a server that is gone, which HAProxy would refuse.
func (w *world) refersToNothing(s *service, line string) bool {
	if !strings.HasPrefix(line, "use-server") && !strings.HasPrefix(line, "acl") {
		return false
	}
	return !slices.ContainsFunc(s.servers, func(it *server) bool {
		return strings.Contains(line, " "+it.name+" ") || strings.Contains(line, "/"+it.name+")")
	})
}

// Whatever way a document came into effect, HAProxy runs what one that is started on the file runs.
func TestWhatRunsIsWhatAFreshHAProxyWouldRun(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cfg.DrainTimeout = 0
			s := r.sink()
			w := &world{rand: rand.New(rand.NewPCG(seed, 1))}
			for range 12 {
				w.ports = append(w.ports, freePort(t))
			}
			w.services = []*service{w.newService(), w.newService(), w.newService()}
			actions := map[string]int{}
			for range 60 {
				doc := w.document()
				result, err := s.Apply(t.Context(), doc)
				if err != nil {
					t.Fatalf("%v\n%s", err, doc.Files[0].Content)
				}
				actions[result.Action]++
				r.awaitDisk(doc)
				r.compareWithFresh(s, result.Action+": "+result.Reason)
				for range 1 + w.rand.IntN(2) {
					w.change()
				}
			}
			t.Log(actions)
			if actions[sdk.ActionRuntime] < 10 || actions[sdk.ActionReload] < 5 {
				t.Errorf("the changes were too much alike: %v", actions)
			}
		})
	}
}

func (r *rig) compareWithFresh(s *Sink, what string) {
	r.t.Helper()
	want := r.fresh()
	var got map[string]string
	eventually(r.t, "the servers that left are gone", func() bool {
		answers := r.ask(s, "show servers state", "show stat -1 4 -1")
		got = describeServers(r.t, answers[0], answers[1])
		return len(got) == len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Fatalf("after %s (-fresh +running)\n%s", what, diff)
	}
}

// fresh starts a HAProxy on the file beside the one that runs, and returns what it runs.
func (r *rig) fresh() map[string]string {
	r.t.Helper()
	socket, pidFile, extra := r.path("fresh.sock"), r.path("fresh.pid"), r.path("fresh.cfg")
	check(r.t, os.WriteFile(extra, []byte("global\n    stats socket "+socket+" level admin\n"), 0o600))
	output, err := exec.Command(r.cfg.Binary, "-D", "-f", extra, "-f", r.cfg.ConfigFile, "-p", pidFile).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %s", err, output)
	}
	pids, err := readPids(pidFile)
	check(r.t, err)
	defer func() { check(r.t, syscall.Kill(pids[0], syscall.SIGKILL)) }()
	conn, err := cli.Dial(r.t.Context(), cli.Endpoint{Path: socket})
	check(r.t, err)
	defer conn.Close()
	answers, err := conn.Do(r.t.Context(), "show servers state", "show stat -1 4 -1")
	check(r.t, err)
	return describeServers(r.t, answers[0], answers[1])
}

// describeServers says about each server everything that HAProxy tells and that does not change by itself.
func describeServers(t *testing.T, state, stat string) map[string]string {
	t.Helper()
	lines := strings.Split(state, "\n")
	columns := strings.Fields(strings.TrimPrefix(lines[1], "#"))
	servers := map[string]string{}
	for _, line := range lines[2:] {
		value := maps.Collect(zip(columns, strings.Fields(line)))
		number := func(column string) int {
			n, err := strconv.Atoi(value[column])
			check(t, err)
			return n
		}
		servers[value["be_name"]+"/"+value["srv_name"]] = fmt.Sprintf("admin %x check %x %s",
			number("srv_admin_state")&0x7b, number("srv_check_state")&0x6, columnsOf(value, "srv_addr", "srv_port", "srv_uweight",
				"srv_use_ssl", "srv_fqdn", "srv_check_addr", "srv_check_port", "srv_agent_addr", "srv_agent_port",
				"srv_agent_state"))
	}
	table, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(stat, "# "))).ReadAll()
	check(t, err)
	for _, fields := range table[1:] {
		value := maps.Collect(zip(table[0], fields))
		id := value["pxname"] + "/" + value["svname"]
		servers[id] += columnsOf(value, "slim", "bck", "check_rise", "check_fall", "mode", "addr", "uweight", "qlimit")
	}
	return servers
}

func columnsOf(value map[string]string, columns ...string) string {
	var b strings.Builder
	for _, column := range columns {
		fmt.Fprintf(&b, " %s=%s", column, value[column])
	}
	return b.String()
}

func zip(keys, values []string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for i, key := range keys {
			if i < len(values) && !yield(key, values[i]) {
				return
			}
		}
	}
}
