package main

import (
	"encoding/json"
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
