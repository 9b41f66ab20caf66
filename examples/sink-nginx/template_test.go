package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file instead of comparing with it")

// The daemon renders the sample template, and nginx checks the result.
func TestTemplate(t *testing.T) {
	daemon := filepath.Join(t.TempDir(), "haproxy-api")
	build := exec.Command("go", "build", "-o", daemon, "./cmd/haproxy-api")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	render := exec.Command(daemon, "render", "-f", "try.toml", "--state", "testdata/services.yaml")
	render.Stderr = t.Output()
	got, err := render.Output()
	if err != nil {
		t.Fatal(err)
	}
	golden := "testdata/nginx.conf"
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	b := newTestEnv(t)
	if err := b.sink().Check(t.Context(), document(string(got))); err != nil {
		t.Error(err)
	}
}
