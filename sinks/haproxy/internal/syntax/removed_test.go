package syntax

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// removedSamples are configurations with one removed thing each, which is in the last line. They are valid in older versions.
func removedSamples() map[string]string {
	const global = "global\n"
	const defaults = "defaults\n\tmode http\n\ttimeout connect 1s\n\ttimeout client 1s\n\ttimeout server 1s\n" +
		"frontend other\n\tbind 127.0.0.1:9997\n" // without a listener, some versions fail
	const frontend = defaults + "frontend f\n\tbind 127.0.0.1:9999\n"
	arguments := map[string]string{
		"appsession": "c len 10 timeout 1h", "bind-process": "1", "block": "if TRUE", "dispatch": "127.0.0.1:1", "grace": "1s",
		"monitor-net": "10.0.0.0/8", "reqadd": `X:\ y`, "rspadd": `X:\ y`, "clitimeout": "1s", "contimeout": "1s",
		"srvtimeout": "1s", "nbproc": "2", "tune.chksize": "16384",
	}
	samples := map[string]string{}
	for keyword := range removedFromProxies {
		samples[keyword] = frontend + "\t" + keyword + " " + arguments[keyword]
	}
	for _, keyword := range []string{"dispatch", "transparent"} {
		samples[keyword] = defaults + "backend b\n\t" + keyword + " " + arguments[keyword]
	}
	for name := range removedOptions {
		samples["option "+name] = defaults + "backend b\n\tserver a 127.0.0.1:1\n\toption " + name
	}
	for keyword := range removedFromGlobal {
		samples[keyword] = defaults + global + "\t" + keyword + " " + arguments[keyword]
	}
	maps.Copy(samples, map[string]string{
		"stats bind-process":        defaults + global + "\tstats bind-process 1",
		"program":                   defaults + "program p",
		"shared name":               frontend + "backend f",
		"headers in option httpchk": defaults + "backend b\n\toption httpchk GET / HTTP/1.1\\r\\nHost:\\ a",
		"process":                   frontend + "\tbind 127.0.0.1:9998 process 1",
		"empty argument":            defaults + "backend b\n\tserver a 127.0.0.1:1 \"\"",
	})
	return samples
}

func TestFindRemoved(t *testing.T) {
	for name, sample := range removedSamples() {
		found := FindRemoved([]byte(sample + " # comment\n"))
		line := strings.Count(sample, "\n") + 1
		if name == "shared name" {
			line -= 2 // the line of the frontend
		}
		if len(found) != 1 || found[0].Name != name || found[0].Line != line {
			t.Errorf("%s: found %+v in\n%s", name, found, sample)
			continue
		}
		if found[0].What == "" || found[0].Change == "" || found[0].Since == "" {
			t.Errorf("%s: %+v is incomplete", name, found[0])
		}
	}
}

func TestFindRemoved_NothingInAValidConfiguration(t *testing.T) {
	const valid = `global
	stats socket /run/haproxy.sock mode 600 level admin
	no strict-limits
defaults
	mode http
	option httpchk GET /health
	option redispatch
	# reqadd X:\ y
	http-request set-header X "block"
userlist grace
	group block
frontend process
	bind :80
	default_backend web
listen transparent
	bind :81
backend web
	server dispatch 127.0.0.1:1
backend web-in
	server reqadd 127.0.0.1:1
`
	if diff := cmp.Diff([]Removed(nil), FindRemoved([]byte(valid))); diff != "" {
		t.Error(diff)
	}
}

var versionOf = regexp.MustCompile(`HAProxy version (\d+)\.(\d+)`)

// TestFindRemoved_AgreesWithHAProxy checks that HAProxy rejects each sample from the version on that the table names, and not
// before, unless another reason is older.
func TestFindRemoved_AgreesWithHAProxy(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), haproxy(), "-v").Output()
	version := versionOf.FindStringSubmatch(string(out))
	if err != nil || version == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	running := number(t, version[1]+"."+version[2])
	samples := removedSamples()
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		since := FindRemoved([]byte(samples[name]))[0].Since
		rejected, text := rejects(t.Context(), t, samples[name])
		if want := running >= number(t, since); rejected != want {
			t.Errorf("%s: HAProxy %s rejects it: %v; the table says since %s\n%s", name, version[0], rejected, since, text)
		}
	}
}

// number returns a version as a number that can be compared.
func number(t *testing.T, version string) int {
	major, minor, _ := strings.Cut(version, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil {
		t.Fatalf("%q is not a version", version)
	}
	return a*1000 + b
}

// rejects reports whether HAProxy rejects the sample.
func rejects(ctx context.Context, t *testing.T, sample string) (bool, string) {
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := sample + "\n"
	if strings.Contains(sample, "program p") {
		text += "\tcommand true\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, haproxy(), "-W", "-c", "-f", path).CombinedOutput()
	return err != nil, fmt.Sprintf("%s\n%s", text, out)
}
