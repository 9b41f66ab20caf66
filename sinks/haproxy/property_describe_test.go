package haproxy

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A side is one of the two HAProxys that are compared.
type side struct {
	prefix string // of all its addresses
	ask    func(commands ...string) []string
}

// freshSide starts a second HAProxy with the same file and other addresses. stop ends it.
func (p *property) freshSide() (fresh side, stop func()) {
	p.t.Helper()
	p.recorder.forgetChecks(freshPrefix)
	socket, pidFile, extra, config := p.path("fresh.sock"), p.path("fresh.pid"), p.path("fresh-extra.cfg"), p.path("fresh.cfg")
	check(p.t, os.WriteFile(extra, []byte("global\n    stats socket "+socket+" level admin\n"), 0o600))
	check(p.t, os.WriteFile(config, []byte(strings.ReplaceAll(p.onDisk(), mainPrefix, freshPrefix)), 0o600))
	output, err := exec.Command(p.cfg.Binary, "-D", "-f", extra, "-f", config, "-p", pidFile).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%v: %s", err, output)
	}
	pids, err := pidsIn(pidFile)
	check(p.t, err)
	conn, err := runtimeapi.Dial(p.t.Context(), runtimeapi.Endpoint{Path: socket})
	check(p.t, err)
	fresh = side{prefix: freshPrefix, ask: func(commands ...string) []string {
		answers, err := conn.Do(p.t.Context(), commands...)
		check(p.t, err)
		return answers
	}}
	return fresh, func() {
		conn.Close()
		check(p.t, syscall.Kill(pids[0], syscall.SIGKILL))
	}
}

func (p *property) running() side {
	return side{prefix: mainPrefix, ask: func(commands ...string) []string { return p.ask(p.sink, commands...) }}
}

// commonPrefix replaces the address prefix of both sides.
const commonPrefix = "127.x."

// answers sends commands, and masks what differs between the sides by design.
func (s side) answers(commands ...string) []string {
	answers := s.ask(commands...)
	for i := range answers {
		answers[i] = strings.ReplaceAll(answers[i], s.prefix, commonPrefix)
	}
	return answers
}

// servers returns for each server and backend everything that HAProxy reports and that does not change by itself, by its name
// and the column, and which servers are draining.
func (s side) servers(t *testing.T) (about map[string]string, leaving map[string]bool) {
	t.Helper()
	answers := s.answers("show servers state", "show stat -1 6 -1", "show servers conn")
	about, leaving = map[string]string{}, map[string]bool{}
	note := func(id string, row map[string]string, columns ...string) {
		for _, column := range columns {
			about[id+" "+column] = row[column]
		}
	}
	for _, row := range spaced(strings.TrimPrefix(answers[0], "1\n")) {
		id := row["be_name"] + "/" + row["srv_name"]
		admin := number(t, row, "srv_admin_state")
		leaving[id] = admin&0x9 != 0
		about[id+" admin"] = fmt.Sprintf("%x", admin&0x7b)
		about[id+" check"] = fmt.Sprintf("%x", number(t, row, "srv_check_state")&0x6)
		about[id+" agent"] = fmt.Sprintf("%x", number(t, row, "srv_agent_state")&0x6)
		about[id+" ssl"] = fmt.Sprint(row["srv_use_ssl"] == "1") // no-ssl is -1 and the same as nothing
		note(id, row, "srv_addr", "srv_port", "srv_uweight", "srv_fqdn", "srv_check_addr", "srv_check_port",
			"srv_agent_addr", "srv_agent_port")
	}
	table := statistics(t, answers[1])
	cookies := map[string]bool{}
	for _, row := range table {
		if row["svname"] == "BACKEND" {
			cookies[row["pxname"]] = row["cookie"] != ""
			note(row["pxname"], row, "mode", "algo", "cookie")
		}
	}
	for _, row := range table {
		if row["svname"] == "BACKEND" {
			continue
		}
		id := row["pxname"] + "/" + row["svname"]
		note(id, row, "slim", "qlimit", "bck", "act", "check_rise", "check_fall", "agent_rise", "agent_fall", "tracked", "mode",
			"addr", "uweight", "src_ilim")
		if cookies[row["pxname"]] { // otherwise the server's means nothing
			note(id, row, "cookie")
		}
	}
	for _, row := range spaced(answers[2]) {
		note(row["bkname/svname"], row, "purge_delay", "idle_lim")
	}
	return about, leaving
}

// health returns the result of the checks of each server.
func (s side) health(t *testing.T) map[string]string {
	t.Helper()
	health := map[string]string{}
	for _, row := range statistics(t, s.answers("show stat -1 4 -1")[0]) {
		word, _, _ := strings.Cut(row["status"], " ")
		result := func(column string) string { return strings.TrimPrefix(row[column], "* ") } // while the next one is going on
		health[row["pxname"]+"/"+row["svname"]] = fmt.Sprintf("%s check %q agent %q", word, result("check_status"),
			result("agent_status"))
	}
	return health
}

// statistics reads an answer to "show stat".
func statistics(t *testing.T, answer string) []map[string]string {
	t.Helper()
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# ")))
	table, err := reader.ReadAll()
	check(t, err)
	var rows []map[string]string
	for _, fields := range table[1:] {
		rows = append(rows, maps.Collect(zip(table[0], fields)))
	}
	return rows
}

// spaced reads a table whose columns are separated by spaces.
func spaced(text string) []map[string]string {
	heading, rest, _ := strings.Cut(text, "\n")
	columns := strings.Fields(strings.TrimPrefix(heading, "#"))
	var rows []map[string]string
	for line := range strings.Lines(rest) {
		if fields := strings.Fields(line); len(fields) > 0 {
			rows = append(rows, maps.Collect(zip(columns, fields)))
		}
	}
	return rows
}

func number(t *testing.T, value map[string]string, column string) int {
	t.Helper()
	n, err := strconv.Atoi(value[column])
	check(t, err)
	return n
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

// differentServers compares what HAProxy reports about its servers, except draining ones.
func (p *property) differentServers(fresh side) string {
	want, _ := fresh.servers(p.t)
	got, leaving := p.running().servers(p.t)
	for key := range got {
		id, _, _ := strings.Cut(key, " ")
		if _, wanted := want[id+" admin"]; !wanted && leaving[id] {
			delete(got, key)
		}
	}
	return different(want, got)
}
