package haproxy

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// leaveTemporary creates the files that a process leaves when it is killed while it writes them.
func (r *testEnv) leaveTemporary(s *Sink, names ...string) {
	r.t.Helper()
	for _, name := range names {
		f, err := replace.New(r.path(name), []byte("half"), replace.Options{Owner: s.paths.ConfigFile})
		check(r.t, err)
		check(r.t, os.WriteFile(f.Name()+"-old", nil, 0o600))
	}
}

func (r *testEnv) has(name string) bool {
	r.t.Helper()
	_, err := os.Lstat(r.path(name))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return err == nil
}

func companion(name, content string) sdk.File { return sdk.File{Name: name, Content: []byte(content)} }

// withMap returns a document that answers with the value that the map in the companion has for k.
func (r *testEnv) withMap(name, value string) sdk.Document {
	config := string(r.document("map").Files[0].Content)
	config = strings.Replace(config, "X-Is map", "X-Is %[str(k),map("+r.path(name)+")]", 1)
	return documentOf(config, companion(name, "k "+value+"\n"))
}

func TestStart_RemovesTemporaryFiles(t *testing.T) {
	r := newTestEnv(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	first := r.sink()
	doc := r.withMap("routes.map", "one")
	r.apply(first, doc, sdk.ActionRestart)
	r.stop(first)
	r.leaveTemporary(first, "haproxy.cfg", "haproxy.cfg.applied", "routes.map", "haproxy.base.cfg", "haproxy.pid", "never.seen")
	_, err := replace.MakeDirectory(first.paths.ConfigFile)
	check(t, err)
	r.apply(r.sink(), doc, sdk.ActionUnchanged)
	entries, err := os.ReadDir(r.dir)
	check(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".tmp-") {
			t.Errorf("%s is left", e.Name())
		}
	}
	if entries, err = os.ReadDir(temp); err != nil || len(entries) > 0 {
		t.Errorf("left are %q, %v", entries, err)
	}
}

func TestCompanions_ObsoleteAreRemoved(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, global string
		sameMaster   bool
	}{
		{"by a reload", "", true},
		{"by another master", "    resetenv PATH\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			r.cfg.DrainTimeout = time.Minute
			s := r.sink()
			s.observeEvery = pollInterval
			r.apply(s, r.withMap("routes.map", "one"), sdk.ActionRestart)
			check(t, os.WriteFile(r.path("mine.map"), []byte("k mine\n"), 0o600))

			// A connection keeps the worker alive that has loaded the map.
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
			check(t, err)
			defer func() { _ = conn.Close() }()
			_, err = conn.Write([]byte("GET / HTTP/1.1\r\n"))
			check(t, err)
			eventually(t, "HAProxy has the connection", func() bool {
				return strings.Contains(r.ask(s, "show info")[0], "CurrConns: 1")
			})
			before := r.running(s)
			_, err = s.Apply(t.Context(), withGlobal(r.withMap("other.map", "two"), test.global))
			check(t, err)
			if now := r.running(s); slices.Equal(now.Pids, before.Pids) != test.sameMaster {
				t.Errorf("HAProxy is %v, and was %v", now, before)
			}
			seen := s.observations.Load()
			eventually(t, "HAProxy is observed", func() bool { return s.observations.Load() > seen+3 })
			if !r.has("routes.map") {
				t.Error("a file was removed while a worker may need it")
			}
			if p := problems(t, s); p != "" {
				t.Errorf("unhealthy while the worker finishes: %s", p)
			}
			_ = conn.Close()
			eventually(t, "the file is removed", func() bool { return !r.has("routes.map") })
			if !r.has("other.map") || !r.has("mine.map") {
				t.Error("a file was removed that is needed or that the sink did not write")
			}
			r.wantServed("two")
			wantHealthy(t, s)
		})
	}
}

// The sink knows its companions whatever happens between writing and removing them.
func TestCompanions_ObsoleteAfterRestart(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	first := r.sink()
	first.observeEvery = time.Hour
	r.apply(first, r.withMap("routes.map", "one"), sdk.ActionRestart)
	r.stop(first)

	// The next process ends after it has written the files, and before HAProxy loads them.
	second := r.sink()
	second.observeEvery = time.Hour
	wantHealthy(t, second)
	doc := r.withMap("second.map", "two")
	files, err := second.paths.place(doc)
	check(t, err)
	check(t, second.lockFiles(t.Context()))
	st, _, err := second.stageAndCheck(t.Context(), parseDocument(files, nil), true)
	check(t, err)
	check(t, second.commit(t.Context(), st))
	second.files.Release(1)
	r.stop(second)

	third := r.sink()
	third.observeEvery = pollInterval
	r.apply(third, r.withMap("third.map", "three"), sdk.ActionReload)
	eventually(t, "the files are removed", func() bool { return !r.has("routes.map") && !r.has("second.map") })
	r.wantServed("three")
	r.stop(third)
	st.Discard()
}

func TestCompanions_ObsoleteAfterOnExitStop(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.OnExit = OnExitStop
	first := r.sink()
	r.apply(first, r.withMap("routes.map", "one"), sdk.ActionRestart)
	r.stop(first)
	second := r.sink()
	if p := problems(t, second); !strings.Contains(p, "no document") {
		t.Errorf("a HAProxy that was stopped is searched for: %s", p)
	}
	r.apply(second, r.document("two"), sdk.ActionRestart)
	if r.has("routes.map") {
		t.Error("the file is left")
	}
	r.stop(second)
	if r.has("haproxy.cfg.applied") {
		t.Error("a record of nothing is left")
	}
}

func TestCompanions_RolledBack(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.observeEvery, s.stableAfter = pollInterval, 5*time.Second
	lost := lostBy(s)
	one := r.withMap("routes.map", "one")
	r.apply(s, one, sdk.ActionRestart)

	// A document that is not loaded.
	bad := withGlobal(r.withMap("other.map", "two"), "    chroot "+r.path("nowhere")+"\n")
	if _, err := s.Apply(t.Context(), bad); !isNotLoaded(err) {
		t.Fatalf("got %v", err)
	}
	if !r.has("routes.map") || r.has("other.map") {
		t.Error("the files of the document before are not back")
	}

	// A document with which HAProxy does not stay up: its files replaced those of the previous one.
	line, end := r.ending(3)
	dying := withGlobal(r.withMap("other.map", "two"), line)
	r.apply(s, dying, r.reloadAfterFailure())
	end()
	awaitLost(t, lost)
	r.wantServed("one")
	eventually(t, "the files are those of the document before", func() bool { return r.has("routes.map") && !r.has("other.map") })
	r.apply(s, one, sdk.ActionUnchanged)
}

func TestCompanions_StillReferenced(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.observeEvery = pollInterval
	withMap := r.withMap("routes.map", "one")
	r.apply(s, documentOf(string(withMap.Files[0].Content), withMap.Files[1], companion("unused.txt", "x")), sdk.ActionRestart)
	// The template keeps the reference and no longer has the files.
	r.apply(s, documentOf(string(withMap.Files[0].Content)), sdk.ActionReload)
	eventually(t, "the other file is removed", func() bool { return !r.has("unused.txt") })
	if !r.has("routes.map") {
		t.Error("a file that HAProxy reads was removed")
	}
	r.apply(s, r.document("two"), sdk.ActionReload)
	eventually(t, "the file is removed", func() bool { return !r.has("routes.map") })
}

// A reload command may start HAProxy with files that we do not write.
func TestCompanions_ReferencedByAnotherFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	extra := r.path("extra.conf")
	check(t, os.WriteFile(extra, []byte("defaults\n    mode http\n    timeout client 1s\n    errorfile 503 "+
		r.path("sorry.http")+"\n"), 0o600))
	r.cfg.Mode, r.cfg.DrainTimeout = ModeCommand, 0
	r.cfg.ReloadCmd = fmt.Sprintf("%s -f %s -f %s -p %s -D -sf $(cat %[4]s)",
		r.cfg.Binary, extra, r.cfg.ConfigFile, r.cfg.PidFile)
	s := r.sink()
	s.observeEvery = pollInterval
	page := companion("sorry.http", "HTTP/1.0 503 Sorry\r\nContent-Length: 0\r\n\r\n")
	doc := r.document("one")
	// The check of the first document does not know the other file, which names the page in its directory.
	r.apply(s, documentOf(string(doc.Files[0].Content), page, companion("unused.txt", "x")), sdk.ActionRestart)
	r.apply(s, r.document("two"), sdk.ActionReload)
	eventually(t, "the other file is removed", func() bool { return !r.has("unused.txt") })
	if !r.has("sorry.http") {
		t.Error("a file that HAProxy reads was removed")
	}
}

func TestCompanions_SymbolicLinkStaysOne(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	elsewhere := t.TempDir()
	check(t, os.Symlink(filepath.Join(elsewhere, "haproxy.cfg"), r.cfg.ConfigFile))
	check(t, os.Symlink(filepath.Join(elsewhere, "routes"), r.path("routes.map")))
	s := r.sink()
	s.observeEvery = pollInterval
	r.apply(s, r.withMap("routes.map", "one"), sdk.ActionRestart)
	r.apply(s, r.withMap("routes.map", "two"), sdk.ActionReload)
	r.wantServed("two")
	r.apply(s, r.document("three"), sdk.ActionReload)
	r.wantServed("three")
	for _, path := range []string{r.cfg.ConfigFile, r.path("routes.map")} {
		if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link: %v", path, err)
		}
	}
	entries, err := os.ReadDir(elsewhere)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("left are %q", entries)
	}
}

// Changes at run time do not prevent the removal of a file that only the processes before a reload need.
func TestCompanions_ObsoleteDuringSteadyChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.Mode, r.cfg.DrainTimeout = ModeCommand, 3*time.Second
	s := r.sink()
	s.observeEvery = pollInterval
	r.apply(s, r.withMap("routes.map", "one"), sdk.ActionRestart)
	doc := r.document("two")
	r.apply(s, doc, sdk.ActionReload)
	weight := 0
	eventually(t, "the file is removed", func() bool {
		weight = 1 + weight%200
		line := "server s1 " + r.backend
		r.apply(s, edited(doc, line, fmt.Sprintf("%s weight %d", line, weight+1)), sdk.ActionRuntime)
		return !r.has("routes.map")
	})
}

func TestCompanions_Replace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		main, one, two := stage.File{Path: "/main"}, stage.File{Path: "/one"}, stage.File{Path: "/two"}
		c := &companions{}
		for _, step := range []struct {
			files []stage.File
			loads int
			later bool // the files that are obsolete have been so only since now
		}{
			{[]stage.File{main, one, two}, 1, false},
			{[]stage.File{main, one}, 2, true},
			{[]stage.File{main, one}, 2, false},
			{[]stage.File{main}, 2, true},
			{[]stage.File{main}, 2, false},
			{[]stage.File{main}, 3, true},
		} {
			_, before := c.obsolete(nil)
			time.Sleep(time.Second)
			c.replace(step.files, step.loads)
			if _, since := c.obsolete(nil); since.Equal(time.Now()) != step.later || !step.later && !since.Equal(before) {
				t.Errorf("after %+v they are obsolete since %v, before since %v", step, since, before)
			}
		}
	})
}

// Another process may be checking a document at the same time.
func TestStart_LeavesARunningCheckAlone(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	files, err := s.paths.place(r.withMap("routes.map", "one"))
	check(t, err)
	st, err := stage.NewCheck(s.paths.ConfigFile, files)
	check(t, err)
	defer st.Discard()
	r.apply(s, r.document("two"), sdk.ActionRestart)
	if _, err := os.Stat(st.Checked()); err != nil {
		t.Error(err)
	}
}
