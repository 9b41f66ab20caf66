package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestCheckSharedFiles(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	haproxy := func(file, pid string) config.Component {
		return config.Component{Type: "haproxy", Block: map[string]any{"config_file": file, "pid_file": pid}}
	}
	file := func(path string) config.Component {
		return config.Component{Type: "file", Block: map[string]any{"path": path}}
	}
	for _, test := range []struct {
		name   string
		sinks  map[string]config.Component
		faults int
	}{
		{"none", map[string]config.Component{
			"a": haproxy(dir+"/a.cfg", dir+"/a.pid"), "b": haproxy(dir+"/b.cfg", dir+"/b.pid"), "c": file(dir + "/c"),
		}, 0},
		{"one configuration file", map[string]config.Component{
			"a": haproxy(dir+"/a.cfg", dir+"/a.pid"), "b": haproxy(link+"/./a.cfg", dir+"/b.pid"),
		}, 1},
		{"one pid file", map[string]config.Component{
			"a": haproxy(dir+"/a.cfg", dir+"/a.pid"), "b": haproxy(dir+"/b.cfg", dir+"/a.run"),
		}, 1},
		{"both", map[string]config.Component{
			"a": haproxy(dir+"/a.cfg", dir+"/a.pid"), "b": haproxy(dir+"/a.cfg", dir+"/a.pid"),
		}, 2},
		{"of two types", map[string]config.Component{"a": haproxy(dir+"/a.cfg", dir+"/a.pid"), "b": file(dir + "/a.cfg")}, 1},
		{"of a third-party plugin", map[string]config.Component{
			"a": {Type: "other", Block: map[string]any{"path": dir}}, "b": {Type: "other", Block: map[string]any{"path": dir}},
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			faults := checkSharedFiles(&config.Config{Sinks: test.sinks})
			if len(faults) != test.faults || slices.Contains(faults, nil) {
				t.Errorf("faults %q", faults)
			}
		})
	}
}
