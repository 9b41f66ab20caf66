package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// unanswered is a lookup that no name server answers.
func unanswered(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// awaitExpiry waits until the sink would look up the host again.
func awaitExpiry(t *testing.T, s *Sink, host string) {
	t.Helper()
	eventually(t, "the cached result expires", func() bool { return !s.resolver.Resolved([]string{host}) })
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("host-%d.example", i))
	}
	return all
}

// deadNames makes only localhost resolvable, and counts the lookups.
func deadNames(s *Sink) *sync.Map {
	var asked sync.Map
	s.resolver.Lookup = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		asked.Store(host, true)
		if host == "localhost" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return unanswered(ctx, network, host)
	}
	s.resolver.Confirm = func(context.Context, string) bool { return false }
	return &asked
}

// wantUnresolved checks that err rejects the document temporarily because of the host names in these lines.
func wantUnresolved(t *testing.T, doc sdk.Document, err error, hosts ...string) {
	t.Helper()
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || !rejection.Temporary || errors.Is(err, sdk.ErrRejected) {
		t.Fatalf("got %v", err)
	}
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || retry.After != resolveAgain {
		t.Errorf("to be tried again %v", retry)
	}
	lines := strings.Split(string(doc.Files[0].Content), "\n")
	var got []string
	for _, place := range rejection.Positions {
		if place.Line == 0 || place.File != "main" {
			t.Fatalf("place %v", place)
		}
		for _, host := range hosts {
			if strings.Contains(lines[place.Line-1], " "+host+":") {
				got = append(got, host)
			}
		}
	}
	if !slices.Equal(got, hosts) {
		t.Errorf("the places %v are not those of %v", rejection.Positions, hosts)
	}
}

// Changes that need no host name do not wait for names that no name server answers, and these names are reported.
func TestUnresolvedHostnames_OthersGoFirst(t *testing.T) {
	t.Parallel()
	hosts := names(4)
	servers := ""
	for i, host := range hosts {
		servers += fmt.Sprintf("    server n%d %s:80\n", i, host)
	}
	for _, test := range []struct{ name, more string }{
		{"servers of a new backend", "backend new\n" + servers},
		{"servers of a standing backend", servers},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			b := r.named("b")
			s := r.sink()
			deadNames(s)
			standing := "backend standing\n"
			r.apply(s, r.document("one", standing), sdk.ActionRestart)
			doc := edited(r.document("one", standing+test.more), "server s1 "+r.backend, "server s1 "+b.address)
			var ahead atomic.Bool
			lookup := s.resolver.Lookup
			s.resolver.Lookup = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
				if r.answeredBy() == "b" {
					ahead.Store(true)
				}
				return lookup(ctx, network, host)
			}
			_, err := s.Apply(t.Context(), doc)
			wantUnresolved(t, doc, err, hosts...)
			if !ahead.Load() {
				t.Error("the server did not have its new address when the names were looked up")
			}
			r.wantAnswers("b")
			wantHealthyEventually(t, s)
			if strings.Contains(r.onDisk(), hosts[0]) {
				t.Error("the file has the names")
			}
		})
	}
}

func wantHealthyEventually(t *testing.T, s *Sink) {
	t.Helper()
	eventually(t, "healthy", func() bool { return problems(t, s) == "" })
}

// Only the names without which HAProxy does not load the configuration keep a document from being loaded.
func TestUnresolvedHostnames_InitAddr(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	asked := deadNames(s)
	resolvers := "resolvers r\n    nameserver n 127.0.0.1:1\n"
	r.apply(s, r.document("one", resolvers+`backend a
    server a host-0.example:80 init-addr none
    server b host-1.example:80 resolvers r init-addr last,none
    server c localhost:80
backend b
    default-server init-addr none
    server a host-2.example:80
    server b host-3.example:80
`), sdk.ActionRestart)
	asked.Range(func(host, _ any) bool {
		if host != "localhost" {
			t.Errorf("%s was looked up", host)
		}
		return true
	})
	doc := r.document("one", "backend b\n    default-server init-addr none\n    server a host-0.example:80\n"+
		"    server b host-1.example:80 init-addr libc\n")
	_, err := s.Apply(t.Context(), doc)
	wantUnresolved(t, doc, err, "host-1.example")
	r.wantServed("one")
}

// Names in other lines that HAProxy looks up when it reads the configuration cause a temporary rejection as well.
func TestUnresolvedHostnames_OtherLines(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	deadNames(s)
	for _, line := range []string{
		"global\n    log HOST local0", "peers p\n    peer x HOST", "resolvers r\n    nameserver n HOST",
		"mailers m\n    mailer m HOST",
		"listen l\n    bind HOST", "backend b\n    server a 127.0.0.1:80 source HOST", "backend b\n    source HOST",
		"backend b\n    server a 127.0.0.1:80 check addr HOST", "backend b\n    server-template a 1-2 HOST",
	} {
		doc := r.document("one", strings.ReplaceAll(line, "HOST", "host-0.example:1234"))
		wantUnresolved(t, doc, s.Check(t.Context(), doc), "host-0.example")
	}
}

// A change is persisted also while its host names have no address: the check does not look them up.
func TestUnresolvedHostnames_Persist(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	checked := r.path("checked.log")
	binary := r.cfg.Binary
	r.cfg.Binary = r.path("haproxy.sh")
	writeProgram(t, r.cfg.Binary, fmt.Appendf(nil, `#!/bin/sh
for arg; do case $1$arg in -c*/.haproxy.cfg*) cat "$arg" >>%s;; esac; done
exec %s "$@"
`, checked, binary))
	b := r.named("b")
	s := r.sink()
	deadNames(s)
	doc := r.document("one", "backend other\n    server a localhost:80\n")
	r.apply(s, doc, sdk.ActionRestart)
	if content, err := os.ReadFile(checked); err != nil || !strings.Contains(string(content), "localhost") {
		t.Fatalf("%v; the check before the start read\n%s", err, content)
	}
	awaitExpiry(t, s, "localhost")
	s.resolver.Lookup = unanswered
	check(t, os.Remove(checked))
	moved := edited(doc, "server s1 "+r.backend, "server s1 "+b.address)
	r.apply(s, moved, sdk.ActionRuntime)
	eventually(t, "the disk follows", func() bool { return r.onDisk() == string(moved.Files[0].Content) })
	wantHealthyEventually(t, s)
	if content, err := os.ReadFile(checked); err != nil || strings.Contains(string(content), "localhost") {
		t.Errorf("%v; the check read\n%s", err, content)
	}
}

// A host name without an address does not prevent that a HAProxy that ended is started with the other services.
func TestUnresolvedHostnames_HAProxyEnds(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	var gone atomic.Bool
	s.resolver.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		if gone.Load() {
			return nil, &net.DNSError{IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	s.resolver.Confirm = func(context.Context, string) bool { return false }
	lost := make(chan sdk.Lost, 1)
	s.OnLost(func(l sdk.Lost) { lost <- l })
	doc := r.document("one", "backend other\n    server a localhost:80\n")
	r.apply(s, doc, sdk.ActionRestart)
	gone.Store(true)
	awaitExpiry(t, s, "localhost")
	s.change.Lock()
	s.update(func(st *state) { st.stable = st.desired }) // it has stayed up for long
	kill(t, s.state.Load().running.Pids[0])
	s.change.Unlock()
	l := <-lost
	if errors.Is(l.Err, sdk.ErrNotLoaded) {
		t.Errorf("got %v", l.Err)
	}
	wantUnresolved(t, doc, l.Err, "localhost")
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.wantServed("one")
	wantHealthy(t, s)
}

// The C library may know names that Go's resolver does not. Here HAProxy runs with another /etc/hosts.
func TestHostnames_OnlyKnownToHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	hosts := r.path("hosts")
	check(t, os.WriteFile(hosts, []byte("127.0.0.1 localhost only-haproxy-knows\n"), 0o644))
	binary := r.cfg.Binary
	r.cfg.Binary = r.path("haproxy.sh")
	writeProgram(t, r.cfg.Binary, fmt.Appendf(nil, `#!/bin/sh
exec unshare -rm sh -c 'mount --bind %s /etc/hosts && exec %s "$@"' sh "$@"
`, hosts, binary))
	s := r.sink()
	s.resolver.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{IsNotFound: true}
	}
	doc := r.document("one", "backend other\n    server a only-haproxy-knows:80\n")
	check(t, s.Check(t.Context(), doc))
	doc = r.document("one", "backend other\n    server a not-even-haproxy-knows:80\n")
	wantUnresolved(t, doc, s.Check(t.Context(), doc), "not-even-haproxy-knows")
}
