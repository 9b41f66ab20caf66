package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// FuzzLoad loads arbitrary bytes as a configuration. Load must return either a configuration or faults of one line each, and must
// not panic.
func FuzzLoad(f *testing.F) {
	extensions := []string{"toml", "yaml", "json"}
	for i, extension := range extensions {
		content, err := os.ReadFile("testdata/general." + extension)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), content, "HAPROXY_API_SINKS__EDGE__TYPE=x", "pipelines.web.vars.a.b=1")
	}
	for i, content := range []string{
		"a.b.c.d = [[{}]]", "a: &a [*a]", "a: &a {b: 1}\nc: {<<: *a}", `{"haproxy":{"user":null},"":{}}`,
		"haproxy = { user = 1979-05-27T07:32:00Z, x = 07:32:00 }",
		"1: 2\n[a]: b\n? {c: d}\n: !!binary aGk=", "{\"a\": 1e999}",
	} {
		f.Add(uint8(i), []byte(content), "HAPROXY_API_HAPROXY__=x", `haproxy."a`)
	}
	file := filepath.Join(f.TempDir(), "fuzz.")
	f.Fuzz(func(t *testing.T, which uint8, content []byte, variable, set string) {
		name := file + extensions[int(which)%len(extensions)]
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{File: name, Named: true, Environ: []string{variable}, Set: []string{set}})
		if (c == nil) == (err == nil) {
			t.Fatalf("want either a configuration or an error, got error %v", err)
		}
		if err != nil {
			checkFaults(t, err)
			return
		}
		for _, v := range c.Values() {
			if v.Key == "" || v.Origin == "" || v.Text() == "" {
				t.Errorf("incomplete value %+v", v)
			}
		}
	})
}

func checkFaults(t *testing.T, err error) {
	t.Helper()
	faults, ok := errors.AsType[config.Faults](err)
	if !ok || len(faults) == 0 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	for _, fault := range faults {
		if line := fault.Error(); strings.ContainsAny(line, "\r\n") || fault.Origin == "" || fault.Problem == "" {
			t.Errorf("not one line: %q", line)
		}
	}
}
