package haproxy

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// askFresh starts a second HAProxy with the file, sends it commands and ends it.
func (r *testEnv) askFresh(commands ...string) []string {
	r.t.Helper()
	socket, pidFile, extra := r.path("beside.sock"), r.path("beside.pid"), r.path("beside.cfg")
	check(r.t, os.WriteFile(extra, []byte("global\n    stats socket "+socket+" level admin\n"), 0o600))
	output, err := exec.Command(r.cfg.Binary, "-D", "-f", extra, "-f", r.cfg.ConfigFile, "-p", pidFile).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %s", err, output)
	}
	pids, err := pidsIn(pidFile)
	check(r.t, err)
	defer func() { check(r.t, syscall.Kill(pids[0], syscall.SIGKILL)) }()
	conn, err := runtimeapi.Dial(r.t.Context(), runtimeapi.Endpoint{Path: socket})
	check(r.t, err)
	defer conn.Close()
	answers, err := conn.Do(r.t.Context(), commands...)
	check(r.t, err)
	return answers
}

// wantAsFresh checks that the servers that run are those of a HAProxy that is started with the file, and, unless all backup
// servers count, the backup servers in the same order.
func (r *testEnv) wantAsFresh(s *Sink) {
	r.t.Helper()
	questions := []string{"show servers state", "show stat -1 4 -1"}
	// The next search for conflicting processes, of which the fresh HAProxy is one, is ten seconds later.
	eventually(r.t, "HAProxy was observed", func() bool { return s.observedTimes() > 0 })
	want := r.serversIn(r.askFresh(questions...))
	var got []string
	eventually(r.t, "the servers that were removed are gone", func() bool {
		got = r.serversIn(r.ask(s, questions...))
		return len(got) <= len(want)
	})
	if strings.Contains(r.onDisk(), "\n    option allbackups\n    server") {
		slices.Sort(want)
		slices.Sort(got)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("what runs is not what a start would bring (-fresh +running)\n%s", diff)
	}
}

// serversIn describes each server: first the backup servers in order, then the others by name.
func (r *testEnv) serversIn(answers []string) []string {
	r.t.Helper()
	table, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(answers[1], "# "))).ReadAll()
	check(r.t, err)
	more := map[string]string{}
	backup := map[string]bool{}
	for _, fields := range table[1:] {
		column := func(name string) string { return fields[slices.Index(table[0], name)] }
		id := column("pxname") + "/" + column("svname")
		more[id] = fmt.Sprintf("maxconn %s, maxqueue %s, rise %s, fall %s", column("slim"), column("qlimit"),
			column("check_rise"), column("check_fall"))
		backup[id] = column("bck") == "1"
	}
	servers, err := runtimeapi.ParseServers(answers[0])
	check(r.t, err)
	var backups, others []string
	for _, is := range servers {
		id := is.Backend + "/" + is.Name
		text := fmt.Sprintf("%s %v weight %d admin %x check %v %s", id, is.Addr, is.Weight,
			is.Admin&(runtimeapi.ForcedDrain|runtimeapi.ForcedMaint), is.Check, more[id])
		if backup[id] {
			backups = append(backups, "backup "+text)
		} else {
			others = append(others, text)
		}
	}
	slices.Sort(others)
	return append(backups, others...)
}
