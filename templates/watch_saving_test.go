package templates

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestWatch_SavedByEditors(t *testing.T) {
	tests := map[string]struct {
		path    string                         // of the main file
		prepare func(t *testing.T, dir string) // makes it say "old"
		save    func(t *testing.T, dir string) // makes it say "new"
	}{
		"in place": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) { save(t, dir+"/t/main", "new") },
		},
		"by rename": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) { replace(t, dir+"/t/main", "new") },
		},
		"as vim does with backupcopy=yes": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/main~", "old")
				save(t, dir+"/t/main", "new")
				must(t, os.Remove(dir+"/t/main~"))
			},
		},
		"as sed does": { // and others that write elsewhere and move
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/elsewhere/sedXYZ", "new")
				must(t, os.Rename(dir+"/elsewhere/sedXYZ", dir+"/t/main"))
			},
		},
		"as vim does with backupcopy=no": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/4913", "")
				must(t, os.Remove(dir+"/t/4913"), os.Rename(dir+"/t/main", dir+"/t/main~"))
				save(t, dir+"/t/main", "new")
				must(t, os.Remove(dir+"/t/main~"))
			},
		},
		"in pieces": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				f, err := os.Create(dir + "/t/main")
				must(t, err)
				for _, piece := range []string{"{{ ", `"n`, `ew`, `" }}`} {
					_, err := f.WriteString(piece)
					must(t, err, f.Sync())
				}
				must(t, f.Close())
			},
		},
		"another link": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/1", "old")
				save(t, dir+"/t/2", "new")
				link(t, "1", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) { link(t, "2", dir+"/t/main") },
		},
		"behind a link": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/elsewhere/deep/file", "old")
				must(t, os.Mkdir(dir+"/t", 0o755))
				link(t, "../elsewhere/deep/file", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) { replace(t, dir+"/elsewhere/deep/file", "new") },
		},
		"as Kubernetes does": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/..1/main", "old")
				link(t, "..1", dir+"/t/..data")
				link(t, "..data/main", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/..2/main", "new")
				link(t, "..2", dir+"/t/..data")
				must(t, os.RemoveAll(dir+"/t/..1"))
			},
		},
		"a link above": {
			path: "current/etc/conf/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/1/etc/conf/main", "old")
				save(t, dir+"/2/etc/conf/main", "new")
				link(t, dir+"/1", dir+"/current")
			},
			save: func(t *testing.T, dir string) { link(t, dir+"/2", dir+"/current") },
		},
		"directory created again": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				must(t, os.RemoveAll(dir+"/t"), os.Mkdir(dir+"/t", 0o755))
				save(t, dir+"/t/main", "new")
			},
		},
		"directory replaced": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/main", "old")
				save(t, dir+"/t2/main", "new")
			},
			save: func(t *testing.T, dir string) {
				must(t, os.Rename(dir+"/t", dir+"/t1"), os.Rename(dir+"/t2", dir+"/t"))
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			set := New(Config{Path: filepath.Join(dir, tt.path)})
			mustLoad(t, set)
			changes := startWatch(t, set, filewatch.Watcher{Poll: never})
			tt.save(t, dir)
			await(t, set, changes, "new")
			// The new file is watched too.
			replace(t, filepath.Join(dir, tt.path), "newer")
			await(t, set, changes, "newer")
			save(t, filepath.Join(dir, tt.path), "newest")
			await(t, set, changes, "newest")
		})
	}
}

// A Kubernetes ConfigMap contains all files of a set and replaces them at once.
func TestWatch_KubernetesConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(n, word string) {
		save(t, dir+"/t/.."+n+"/main", `{{ include "p" . }}`)
		save(t, dir+"/t/.."+n+"/routes", word)
		save(t, dir+"/t/.."+n+"/1.tmpl", `{{ define "p" }}`+word+`{{ end }}`)
	}
	version("1", "one")
	version("2", "two")
	link(t, "..1", dir+"/t/..data")
	for _, name := range []string{"main", "routes", "1.tmpl"} {
		link(t, "..data/"+name, dir+"/t/"+name)
	}
	set := New(Config{
		Path: dir + "/t/main", Files: map[string]string{"routes.map": dir + "/t/routes"}, Partials: []string{dir + "/t/*.tmpl"},
	})
	mustLoad(t, set)
	changes := startWatch(t, set, filewatch.Watcher{Poll: never})
	link(t, "..2", dir+"/t/..data")
	must(t, os.RemoveAll(dir+"/t/..1"))
	await(t, set, changes, "two")
	files, _, err := mustLoad(t, set).Render(t.Context(), sdk.Snapshot{})
	if err != nil || string(files[1].Content) != "two\n" {
		t.Errorf("%v, %v", files, err)
	}
}

// The parts of a file that is truncated and written slowly are no valid template. The complete file is reported.
func TestWatch_SlowWriter(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := startWatch(t, set, filewatch.Watcher{Poll: never})
	f, err := os.Create(dir + "/main")
	must(t, err)
	for _, piece := range []string{"", "\n", "{{ if .User }}x{{ else }}", "ne"} {
		_, err := f.WriteString(piece)
		must(t, err, f.Sync())
		if piece != "" || len(changes) == 0 {
			<-changes // the watcher cannot know whether more follows
		}
		if tmpl, err := set.Load(); err == nil {
			t.Errorf("%q behind the others is a valid template: %v", piece, tmpl)
		}
	}
	_, err = f.WriteString("w{{ end }}")
	must(t, err, f.Close())
	await(t, set, changes, "\nnew")
}

func TestWatch_DirectoryRemovedAndCreated(t *testing.T) {
	for name, goes := range map[string]string{"alone": "/parent/t", "with its parent": "/parent"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, dir+"/parent/t/main", "old")
			set := New(Config{Path: dir + "/parent/t/main", Partials: []string{dir + "/parent/t/*.tmpl"}})
			mustLoad(t, set)
			changes := startWatch(t, set, filewatch.Watcher{Poll: never})
			must(t, os.RemoveAll(dir+goes))
			<-changes
			if _, err := set.Load(); err == nil {
				t.Error("loaded a file that is gone")
			}
			save(t, dir+"/new/parent/t/main", "new")
			must(t, os.Rename(dir+"/new"+goes, dir+goes))
			await(t, set, changes, "new")
			replace(t, dir+"/parent/t/main", "newer")
			await(t, set, changes, "newer")
		})
	}
}
