package process

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Answers of real masters; the one of 2.4 is made up in its format, which has a column more.
var procAnswers = []struct {
	name   string
	answer string
	want   processList
}{
	{"2.6 after a start", `#<PID>          <type>          <reloads>       <uptime>        <version>      
15110           master          1 [failed: 0]   0d00h10m36s     2.6.12-1+deb12u4
# workers
21330           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# programs

`, processList{master: 15110, reloads: 1, workers: []int{21330}, version: "2.6.12-1+deb12u4"}},
	{"2.6 after a failed reload", `#<PID>          <type>          <reloads>       <uptime>        <version>      
15110           master          5 [failed: 1]   0d00h11m14s     2.6.12-1+deb12u4
# workers
23019           worker          1               0d00h00m04s     2.6.12-1+deb12u4
# programs

`, processList{master: 15110, reloads: 5, failed: 1, workers: []int{23019}, version: "2.6.12-1+deb12u4"}},
	{"2.6 with an old worker", `#<PID>          <type>          <reloads>       <uptime>        <version>      
31767           master          3 [failed: 0]   0d00h00m01s     2.6.12-1+deb12u4
# workers
31870           worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
31814           worker          2               0d00h00m01s     2.6.12-1+deb12u4
# programs

`, processList{master: 31767, reloads: 3, workers: []int{31870}, old: []int{31814}, version: "2.6.12-1+deb12u4"}},
	{"3.0", `#<PID>          <type>          <reloads>       <uptime>        <version>      
27571           master          4 [failed: 2]   0d00h00m04s     3.0.11-1+deb13u3
# workers
27632           worker          2               0d00h00m02s     3.0.11-1+deb13u3
# programs

`, processList{master: 27571, reloads: 4, failed: 2, workers: []int{27632}, version: "3.0.11-1+deb13u3"}},
	{"3.2 after failures, one old", `#<PID>          <type>          <reloads>       <uptime>        <version>      
30587           master          3 [failed: 2]   0d00h00m04s     3.2.26-1       
# workers
# old workers
30598           worker          2               0d00h00m04s     3.2.26-1       
30590           worker          3               0d00h00m09s     3.2.26-1       

`, processList{
		master: 30587, reloads: 3, failed: 2, workers: []int{30598}, old: []int{30590}, version: "3.2.26-1", noHandover: true,
	}},
	{"3.2 after two failures of a worker", `#<PID>          <type>          <reloads>       <uptime>        <version>      
26164           master          2 [failed: 1]   0d00h00m09s     3.2.26-1       
# workers
# old workers
26166           worker          2               0d00h00m09s     3.2.26-1       

`, processList{master: 26164, reloads: 2, failed: 1, workers: []int{26166}, version: "3.2.26-1", noHandover: true}},
	{"3.2 while a worker loads", `#<PID>          <type>          <reloads>       <uptime>        <version>      
26164           master          2 [failed: 0]   0d00h00m06s     3.2.26-1       
# workers
26406           worker          0               0d00h00m01s     3.2.26-1       
# old workers
26166           worker          2               0d00h00m06s     3.2.26-1       

`, processList{master: 26164, reloads: 2, workers: []int{26406}, old: []int{26166}, version: "3.2.26-1"}},
	{"2.4", `#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      
100             master          0               7               0d00h00m04s     2.4.0
# workers
102             worker          1               0               0d00h00m02s     2.4.0
# old workers
101             worker          [was: 1]        7               0d00h00m02s     2.4.0
# programs

`, processList{master: 100, reloads: 7, failed: -1, workers: []int{102}, old: []int{101}, version: "2.4.0"}},
}

func TestParseProcessList(t *testing.T) {
	for _, test := range procAnswers {
		got, ok := parseProcessList(test.answer)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(processList{})); !ok || diff != "" {
			t.Errorf("%s: ok %v, difference:\n%s", test.name, ok, diff)
		}
	}
}

func TestParseProcessList_OfOtherAnswers(t *testing.T) {
	whole := procAnswers[0].answer
	for _, answer := range []string{
		"", "\n", "Unknown command\n", "# workers\n12 worker 0 0d 2.6\n", whole[:80], "0 master 0 0d 2.6\n",
	} {
		if p, ok := parseProcessList(answer); ok {
			t.Errorf("%q was read as %+v", answer, p)
		}
	}
}

func FuzzParseProcessList(f *testing.F) {
	for _, test := range procAnswers {
		f.Add(test.answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		p, ok := parseProcessList(answer)
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

func TestNewWorker(t *testing.T) {
	before := processList{workers: []int{10}, old: []int{9}}
	for _, test := range []struct {
		now  processList
		want int
	}{
		{processList{workers: []int{10}}, 0},
		{processList{workers: []int{9}}, 0},
		{processList{old: []int{10, 9}}, 0},
		{processList{workers: []int{11}, old: []int{10}}, 11},
	} {
		if got := test.now.newWorker(before); got != test.want {
			t.Errorf("%+v after %+v: newWorker is %d, want %d", test.now, before, got, test.want)
		}
	}
}
