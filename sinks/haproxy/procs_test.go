package haproxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Answers of real masters; the one of 2.4 is put together from its format, with a column that later ones do not have.
var procAnswers = []struct {
	name   string
	answer string
	want   procs
}{
	{"2.6 standing", `#<PID>          <type>          <reloads>       <uptime>        <version>      
15110           master          1 [failed: 0]   0d00h10m36s     2.6.12-1+deb12u4
# workers
21330           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# programs

`, procs{master: 15110, reloads: 1, workers: []int{21330}, version: "2.6.12-1+deb12u4"}},
	{"2.6 after a failed reload", `#<PID>          <type>          <reloads>       <uptime>        <version>      
15110           master          5 [failed: 1]   0d00h11m14s     2.6.12-1+deb12u4
# workers
23019           worker          1               0d00h00m04s     2.6.12-1+deb12u4
# programs

`, procs{master: 15110, reloads: 5, failed: 1, workers: []int{23019}, version: "2.6.12-1+deb12u4"}},
	{"2.6 with an old worker", `#<PID>          <type>          <reloads>       <uptime>        <version>      
31767           master          3 [failed: 0]   0d00h00m01s     2.6.12-1+deb12u4
# workers
31870           worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
31814           worker          2               0d00h00m01s     2.6.12-1+deb12u4
# programs

`, procs{master: 31767, reloads: 3, workers: []int{31870}, old: []int{31814}, version: "2.6.12-1+deb12u4"}},
	{"3.0", `#<PID>          <type>          <reloads>       <uptime>        <version>      
27571           master          4 [failed: 2]   0d00h00m04s     3.0.11-1+deb13u3
# workers
27632           worker          2               0d00h00m02s     3.0.11-1+deb13u3
# programs

`, procs{master: 27571, reloads: 4, failed: 2, workers: []int{27632}, version: "3.0.11-1+deb13u3"}},
	{"3.2 after failures, one old", `#<PID>          <type>          <reloads>       <uptime>        <version>      
30587           master          3 [failed: 2]   0d00h00m04s     3.2.26-1       
# workers
# old workers
30598           worker          2               0d00h00m04s     3.2.26-1       
30590           worker          3               0d00h00m09s     3.2.26-1       

`, procs{master: 30587, reloads: 3, failed: 2, workers: []int{30598}, old: []int{30590}, version: "3.2.26-1"}},
	{"2.4", `#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      
100             master          0               7               0d00h00m04s     2.4.0
# workers
102             worker          1               0               0d00h00m02s     2.4.0
# old workers
101             worker          [was: 1]        7               0d00h00m02s     2.4.0
# programs

`, procs{master: 100, reloads: 7, failed: -1, workers: []int{102}, old: []int{101}, version: "2.4.0"}},
}

func TestParseProcs(t *testing.T) {
	for _, test := range procAnswers {
		got, ok := parseProcs(test.answer)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(procs{})); !ok || diff != "" {
			t.Errorf("%s: ok %v, difference:\n%s", test.name, ok, diff)
		}
	}
}

func TestParseProcsOfNoAnswer(t *testing.T) {
	whole := procAnswers[0].answer
	for _, answer := range []string{
		"", "\n", "Unknown command\n", "# workers\n12 worker 0 0d 2.6\n", whole[:80], "0 master 0 0d 2.6\n",
	} {
		if p, ok := parseProcs(answer); ok {
			t.Errorf("%q was read as %+v", answer, p)
		}
	}
}

func FuzzParseProcs(f *testing.F) {
	for _, test := range procAnswers {
		f.Add(test.answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		p, ok := parseProcs(answer)
		if ok != (p.master > 0) {
			t.Errorf("ok is %v for master %d", ok, p.master)
		}
		for _, pid := range slices.Concat(p.workers, p.old) {
			if pid <= 0 {
				t.Errorf("worker %d", pid)
			}
		}
		if p.reloads < 0 || p.failed < -1 {
			t.Errorf("%d reloads, %d failed", p.reloads, p.failed)
		}
	})
}

func TestFreshWorker(t *testing.T) {
	before := procs{workers: []int{10}, old: []int{9}}
	for _, test := range []struct {
		now  procs
		want int
	}{
		{procs{workers: []int{10}}, 0},
		{procs{workers: []int{9}}, 0},
		{procs{old: []int{10, 9}}, 0},
		{procs{workers: []int{11}, old: []int{10}}, 11},
	} {
		if got := test.now.fresh(before); got != test.want {
			t.Errorf("%+v after %+v: fresh is %d, want %d", test.now, before, got, test.want)
		}
	}
}

func TestReloadWithoutANewWorker(t *testing.T) {
	before := procs{master: 1, reloads: 4, failed: 1, workers: []int{10}}
	for _, test := range []struct {
		name   string
		now    procs
		failed bool
	}{
		{"not taken yet", procs{master: 1, reloads: 4, failed: 1, workers: []int{10}}, false},
		{"failed", procs{master: 1, reloads: 5, failed: 2, workers: []int{10}}, true},
		{"failed, on a version that does not count", procs{master: 1, reloads: 5, failed: -1, workers: []int{10}}, true},
		{"loading, on a version that answers meanwhile", procs{master: 1, reloads: 5, failed: 0, workers: []int{10}}, false},
	} {
		w := &waiting{managed: &managed{patience: patience}, before: before}
		if err := w.without(test.now); (err != nil) != test.failed {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	w := &waiting{managed: &managed{patience: -1}, before: before}
	wantError(t, w.without(before), "has started no new worker")
}

func TestParseReload(t *testing.T) {
	for _, test := range []struct {
		answer string
		want   verdict
		log    string
	}{
		{"", unsaid, ""},
		{"\n", unsaid, ""},
		{"Succ", unsaid, ""},
		{"Success=1\n--\n[NOTICE]   (27571) : New worker (27628) forked\n", succeeded, ""},
		{"Success=0\n--\n[NOTICE] (1) : x\n[ALERT]    (27571) : config : parsing [a:1] : no\n", refused,
			"[ALERT]    (27571) : config : parsing [a:1] : no"},
		{"Success=0\n--\nAnother reload is still in progress.\n", inProgress, ""},
	} {
		said, log := parseReload(test.answer)
		if said != test.want || strings.Join(log, "|") != test.log {
			t.Errorf("%q: %v, %q", test.answer, said, log)
		}
	}
}
