package haproxy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// startMaster starts a HAProxy with a master in the directory of r, as a service manager would, and a configuration that
// answers with name. The reload command sends it a signal.
func (r *testEnv) startMaster(name string, args ...string) (pid int) {
	r.t.Helper()
	r.cfg.ReloadCmd = "kill -USR2 $(cat " + r.cfg.PidFile + ")"
	if r.onDisk() == "" {
		check(r.t, os.WriteFile(r.cfg.ConfigFile, r.document(name).Files[0].Content, 0o644))
	}
	cmd := exec.Command(findIt(r.t, r.cfg.Binary), append([]string{"-W", "-D", "-p", r.cfg.PidFile}, args...)...)
	cmd.Dir = r.dir
	if output, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, output)
	}
	executesTwice := !r.atLeast31()
	eventually(r.t, "the master serves", func() bool {
		pids, err := pidsIn(r.cfg.PidFile)
		if err != nil || len(pids) == 0 {
			return false
		}
		pid = pids[0]
		env, err := procinfo.Environment(pid)
		waits := err == nil && env["HAPROXY_MWORKER_WAIT_ONLY"] != ""
		return len(childrenOf(pid)) > 0 && (!executesTwice || waits) && catches(pid, syscall.SIGUSR2)
	})
	return pid
}

// catches reports whether the process has a handler for the signal. Until it has, a signal may be lost.
func catches(pid int, signal syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, found := strings.Cut(string(status), "SigCgt:")
	mask, errMask := strconv.ParseUint(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]), 16, 64)
	return err == nil && found && errMask == nil && mask&(1<<(signal-1)) != 0
}

const programSection = `program helper
    command sleep 100
`

// withProgram returns doc with a program section, which HAProxy 3.2 accepts only after a directive.
func withProgram(doc sdk.Document) sdk.Document {
	doc = edited(doc, "global\n", "global\n    .if version_atleast(3.2)\n    expose-deprecated-directives\n    .endif\n")
	return documentOf(string(doc.Files[0].Content) + programSection)
}

func TestCheck_ProgramSectionWithAMaster(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	doc := withProgram(r.document("one"))
	check(t, s.Check(t.Context(), doc))
	r.apply(s, doc, sdk.ActionRestart)
	r.wantServed("one")
}

func TestCheck_ProgramSectionWithoutAMaster(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.Mode = ModeCommand
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	if _, err := s.Apply(t.Context(), withProgram(r.document("two"))); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v, want a rejection", err)
	}
	r.wantServed("one")
}

// With a reload_cmd, the running HAProxy determines with which options, files and working directory it will load the document.
func TestCheck_ReadsAsTheRunningMasterDoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args func(r *testEnv) []string
		make func(r *testEnv) sdk.Document
	}{
		{"program section", func(r *testEnv) []string { return []string{"-f", r.cfg.ConfigFile} },
			func(r *testEnv) sdk.Document { return withProgram(r.document("two")) }},
		{"another file", func(r *testEnv) []string { return []string{"-f", r.path("users.cfg"), "-f", r.cfg.ConfigFile} },
			func(r *testEnv) sdk.Document {
				return edited(r.document("two"), "default_backend app", "default_backend app\n    acl known http_auth(users)")
			}},
		{"a file after --", func(r *testEnv) []string { return []string{"--", r.path("users.cfg"), r.cfg.ConfigFile} },
			func(r *testEnv) sdk.Document {
				return edited(r.document("two"), "default_backend app", "default_backend app\n    acl known http_auth(users)")
			}},
		{"the working directory", func(*testEnv) []string { return []string{"-f", "haproxy.cfg"} },
			func(r *testEnv) sdk.Document {
				return edited(r.document("two"), "defaults\n", "defaults\n    errorfile 503 page.http\n")
			}},
		{"unknown host names", func(r *testEnv) []string { return []string{"-dr", "-f", r.cfg.ConfigFile} },
			func(r *testEnv) sdk.Document {
				return documentOf(string(r.document("two").Files[0].Content) + "    server s2 node-1.invalid:80\n")
			}},
		{"a directory", func(r *testEnv) []string { return []string{"-f", r.path("conf.d")} },
			func(r *testEnv) sdk.Document {
				return edited(r.document("two"), "default_backend app", "default_backend app\n    acl known http_auth(users)")
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			check(t, os.WriteFile(r.path("users.cfg"), []byte("userlist users\n    user x insecure-password x\n"), 0o644))
			check(t, os.WriteFile(r.path("page.http"), []byte("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), 0o644))
			if test.name == "a directory" {
				check(t, os.MkdirAll(r.path("conf.d"), 0o755))
				check(t, os.Rename(r.path("users.cfg"), r.path("conf.d/00-users.cfg")))
				r.cfg.ConfigFile = r.path("conf.d/10-main.cfg")
			}
			master := r.startMaster("one", test.args(r)...)
			s := r.sink()
			doc := test.make(r)
			check(t, s.Check(t.Context(), doc))
			r.apply(s, doc, sdk.ActionReload)
			r.wantServed("two")
			if now := r.running(s); now.Pids[0] != master {
				t.Errorf("the master was %d and is %v", master, now.Pids)
			}
			bad := edited(doc, "frontend web", "frontend web\n    bogus")
			if err := s.Check(t.Context(), bad); !errors.Is(err, sdk.ErrRejected) {
				t.Errorf("a bad document: %v", err)
			}
		})
	}
}

// HAPROXY_MWORKER is set where there is a master: from 3.1 on at a start, before that only at a reload.
func TestCheck_MasterVariable(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	doc := edited(r.document("one"), "global\n", "global\n    .if defined(HAPROXY_MWORKER)\n    bogus\n    .endif\n")
	checked := s.Check(t.Context(), doc)
	if r.atLeast31() != errors.Is(checked, sdk.ErrRejected) {
		t.Fatalf("the check says %v", checked)
	}
	if checked != nil {
		return
	}
	r.apply(s, doc, sdk.ActionRestart)
	r.apply(s, edited(doc, "X-Is one", "X-Is two"), sdk.ActionRestart)
	r.wantServed("two")
}

// A master that was started with other options would load the files in another way than a HAProxy that is started now.
func TestReplace_MasterWithOtherOptions(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	check(t, os.WriteFile(r.cfg.ConfigFile, r.document("one").Files[0].Content, 0o644))
	other := r.path("maxconn.cfg")
	check(t, os.WriteFile(other, []byte("global\n    maxconn 77\n"), 0o644))
	master := r.startMaster("one", "-S", r.path("haproxy.master.sock"), "-f", r.cfg.ConfigFile, "-f", other)
	r.cfg.ReloadCmd = ""
	s := r.sink()
	r.apply(s, r.document("two"), sdk.ActionRestart)
	r.wantServed("two")
	if now := r.running(s); now.Pids[0] == master {
		t.Error("the master with other options still serves")
	}
	eventually(t, "the other master has ended", func() bool { return !procinfo.Exists(master) })
	r.apply(s, r.document("three"), sdk.ActionReload)
	if said := r.ask(s, "show info")[0]; !strings.Contains(said, fmt.Sprintf("Maxconn: %d\n", 100)) {
		t.Errorf("HAProxy says %s", said)
	}
}
