package haproxy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// The system lists the listeners of other processes and those of HAProxy.
func TestCheckBinds_DistinguishesOwnListeners(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	port, free := occupy(t)
	defer free()
	config := fmt.Sprintf("frontend f\n bind 127.0.0.1:%d\n bind 127.0.0.1:%d\n", r.port, port)
	err := s.paths.CheckBinds(t.Context(), s.state.Load().running, stage.File{Content: []byte(config)}, nil)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) != 1 || rejection.Positions[0].Line != 3 ||
		!strings.Contains(rejection.Positions[0].Problem, fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("got %v", err)
	}
}

// The line with an address that another program has is named, and the address is used once it is free.
func TestApply_AddressInUseHasAPosition(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(name string, more ...string) sdk.Document) {
		s := r.sink()
		port, free := occupy(t)
		bad := func(name string) sdk.Document {
			return document(name, "frontend more", fmt.Sprintf(" bind 127.0.0.1:%d", port), " default_backend app")
		}
		if r.cfg.ReloadCmd == "" { // otherwise the addresses of the first one are unknown
			wantInUse(t, s, bad("one"), port)
		}
		r.apply(s, document("one"), sdk.ActionRestart)
		wantInUse(t, s, bad("two"), port)
		r.wantServed("one")
		r.apply(s, document("two"), sdk.ActionReload)
		r.wantServed("two")
		free()
		r.apply(s, bad("three"), sdk.ActionReload)
		r.wantServed("three")
	})
}

func wantInUse(t *testing.T, s *Sink, doc sdk.Document, port int) {
	t.Helper()
	_, err := s.Apply(t.Context(), doc)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) != 1 || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v", err)
	}
	line := strings.Split(string(doc.Files[0].Content), "\n")[rejection.Positions[0].Line-1]
	if want := fmt.Sprintf(" bind 127.0.0.1:%d", port); line != want {
		t.Errorf("line %q, want %q", line, want)
	}
}

// A command may start HAProxy in a network namespace that has other addresses.
func TestApply_CommandInAnotherNetworkNamespace(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useCommands09()
	r.cfg.ReloadCmd = "unshare -rn " + r.cfg.ReloadCmd
	port, _ := occupy(t)
	other, _ := occupy(t)
	config := fmt.Sprintf("global\n    daemon\nlisten f\n    bind *:%d\n    timeout client 1s\n    timeout connect 1s\n"+
		"    timeout server 1s\n", port)
	s := r.sink()
	s.observeEvery = pollInterval
	r.apply(s, documentOf(config), sdk.ActionRestart)
	r.apply(s, documentOf(config+fmt.Sprintf("    bind *:%d\n", other)), sdk.ActionReload)
	eventually(t, "conflicts were checked", func() bool {
		return s.observedTimes() > 1
	})
	wantHealthy(t, s)
}

// The first document is left to the command, because it is unknown where that starts HAProxy.
func TestApply_CommandListensOnOtherAddresses(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	config := strings.ReplaceAll(string(r.daemonDocument("one").Files[0].Content), "bind 127.0.0.1", "bind 192.0.2.1")
	r.useCommands09()
	elsewhere := r.path("elsewhere.cfg")
	r.cfg.ReloadCmd = fmt.Sprintf("sed s/192.0.2.1/127.0.0.1/ %s >%s; %s", r.cfg.ConfigFile, elsewhere,
		strings.ReplaceAll(r.cfg.ReloadCmd, r.cfg.ConfigFile, elsewhere))
	s := r.sink()
	r.apply(s, documentOf(config), sdk.ActionRestart)
	r.wantServed("one")

	port, free := occupy(t)
	more := documentOf(config + fmt.Sprintf("frontend more\n    bind 127.0.0.1:%d\n", port))
	_, err := s.Apply(t.Context(), more) // now it is known
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	free()
	r.apply(s, more, sdk.ActionReload)
}
