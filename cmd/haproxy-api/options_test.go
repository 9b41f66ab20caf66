package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestOptions_GlobalFlagsReachTheConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"--follow", "example:7777", "config", "--output", "json"},
		{"config", "--output", "json", "--follow", "example:7777"},
	} {
		var out strings.Builder
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(&out)
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		var values []config.Value
		if err := json.Unmarshal([]byte(out.String()), &values); err != nil {
			t.Fatal(err)
		}
		follow := ""
		for _, v := range values {
			if v.Key == "sidecar.follow" {
				follow, _ = v.Value.(string)
			}
		}
		if follow != "example:7777" {
			t.Errorf("%q: sidecar.follow is %q", args, follow)
		}
	}
}

func TestOptions_NoteThatTheDefaultsApply(t *testing.T) {
	t.Chdir(t.TempDir())
	before := serviceConfig
	t.Cleanup(func() { serviceConfig = before })
	serviceConfig = filepath.Join(t.TempDir(), "service.toml")
	notes := func(args ...string) string {
		t.Helper()
		var notes strings.Builder
		root := newRoot()
		root.SetArgs(append(args, "config"))
		root.SetOut(io.Discard)
		root.SetErr(&notes)
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		return notes.String()
	}
	if got := notes(); got != "" {
		t.Errorf("without a configuration of the service: %q", got)
	}
	write := func(file string) {
		t.Helper()
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(serviceConfig)
	if got := notes(); !strings.Contains(got, "-f "+serviceConfig) {
		t.Errorf("the note does not name %s: %q", serviceConfig, got)
	}
	if got := notes("-f", serviceConfig); got != "" {
		t.Errorf("with a named file: %q", got)
	}
	write("haproxy-api.toml")
	if got := notes(); got != "" {
		t.Errorf("with the default file: %q", got)
	}
}
