package haproxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

const (
	// lookupLimit bounds the wait for the name servers, for one host name.
	lookupLimit = 2 * time.Second
	// confirmLimit bounds the wait for the C library, for one host name.
	confirmLimit = time.Second
	// lookupsLimit bounds all lookups that are made at a time.
	lookupsLimit = 10 * time.Second
	// parallelLookups is how many host names are looked up at the same time.
	parallelLookups = 16
	// keepResolution is how long a host name is not looked up again. It ends before lookUpAgain, and is short because the address
	// of a container that was started again may be another one.
	keepResolution = 5 * time.Second
)

// hostnames looks host names up before HAProxy does. HAProxy asks the C library for one name after another and waits up to 20 s
// for each that no name server answers. The lookups here are made in parallel, bounded and kept for a while.
//
// The resolver of Go reads /etc/hosts and asks the name servers in /etc/resolv.conf, as most C libraries are configured to. Where
// it finds nothing, HAProxy is asked about that one name: the C library may know more, from other sources in /etc/nsswitch.conf.
type hostnames struct {
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	confirm func(ctx context.Context, host string) bool // reports whether HAProxy finds an address

	mu    sync.Mutex
	known map[string]resolution
}

// A resolution is what was found out about a host name. Without addresses and without an error, only HAProxy knows the address.
type resolution struct {
	addresses []netip.Addr
	err       error
	until     time.Time // when it is looked up again
}

var errNotLookedUp = fmt.Errorf("it was not looked up within %v", lookupsLimit)

// resolve returns what is known of each host, after looking up what is not.
func (h *hostnames) resolve(ctx context.Context, hosts []string) map[string]resolution {
	ctx, cancel := context.WithTimeout(ctx, lookupsLimit)
	defer cancel()
	var lookups sync.WaitGroup
	places := make(chan struct{}, parallelLookups)
	for _, host := range h.unknown(hosts) {
		lookups.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				h.keep(ctx, host, h.find(ctx, host))
			case <-ctx.Done():
			}
		})
	}
	lookups.Wait()
	found := map[string]resolution{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, host := range hosts {
		found[host] = resolution{err: errNotLookedUp}
		if r, known := h.known[host]; known {
			found[host] = r
		}
	}
	return found
}

// unknown returns those of hosts that have to be looked up, each once.
func (h *hostnames) unknown(hosts []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.known, func(_ string, r resolution) bool { return !time.Now().Before(r.until) })
	unknown := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
		_, known := h.known[host]
		return known
	})
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// areResolved reports whether all hosts are known to have an address.
func (h *hostnames) areResolved(hosts []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(hosts, func(host string) bool {
		r, known := h.known[host]
		return !known || r.err != nil || !time.Now().Before(r.until)
	})
}

func (h *hostnames) find(ctx context.Context, host string) resolution {
	limited, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	addresses, err := h.lookup(limited, "ip", host)
	if err == nil && len(addresses) > 0 {
		return resolution{addresses: addresses}
	}
	limited, cancel = context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	if h.confirm(limited, host) {
		return resolution{}
	}
	if err == nil {
		err = errors.New("no such host")
	}
	return resolution{err: err}
}

// keep remembers r, unless it is only the consequence of ctx.
func (h *hostnames) keep(ctx context.Context, host string, r resolution) {
	if r.err != nil && ctx.Err() != nil {
		return
	}
	r.until = time.Now().Add(keepResolution)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[string]resolution{}
	}
	h.known[host] = r
}

// confirmHostname reports whether HAProxy finds an address of the host in the way in which it looks for those in a configuration.
func (s *Sink) confirmHostname(ctx context.Context, host string) bool {
	l, err := s.proxy.invocation(ctx)
	if err != nil {
		return false
	}
	file, err := os.CreateTemp("", "haproxy-api-hostname-*.cfg")
	if err != nil {
		return false
	}
	defer os.Remove(file.Name())
	_, err = fmt.Fprintf(file, "listen hostname\n    bind 127.0.0.1:1\n    server hostname %s:1\n", host)
	if errors.Join(err, file.Close()) != nil {
		return false
	}
	alone := invocation{program: l.program, args: []string{"-f", file.Name()}, dir: l.dir, env: l.env}
	o, err := alone.check(ctx, nil, nil).Run(ctx)
	return err == nil && o.Code == 0
}

// lookUpAgain is when to try again where host names have no address.
const lookUpAgain = 10 * time.Second

// requireHostnames looks up those names in the main file without which HAProxy does not load it, and refuses it for now, with
// the places of those that have no address.
func (s *Sink) requireHostnames(ctx context.Context, main stage.File, names []syntax.Hostname) error {
	found := s.hostnames.resolve(ctx, requiredHosts(names))
	var places []sdk.Position
	for _, name := range names {
		if err := found[name.Host].err; name.Required && err != nil {
			places = append(places, sdk.Position{File: main.Name, Path: main.Path, Line: name.Line,
				Problem: fmt.Sprintf("%s: the host name %s has no address: %v", name.Keyword, name.Host, err)})
		}
	}
	if len(places) == 0 {
		return nil
	}
	return sdk.RetryAfter(&sdk.Rejection{
		Err: errors.New("host names that HAProxy needs have no address for now"), Positions: places, Temporary: true,
	}, lookUpAgain)
}

// asInvoked returns the names as they are to a HAProxy that is started as ours is: with -dr, servers need not have an address.
func (s *Sink) asInvoked(ctx context.Context, names []syntax.Hostname) []syntax.Hostname {
	if len(names) == 0 {
		return nil
	}
	l, err := s.proxy.invocation(ctx)
	if err != nil || !slices.Contains(l.args, "-dr") {
		return names
	}
	names = slices.Clone(names)
	for i, name := range names {
		names[i].Required = name.Required && !name.OfServer
	}
	return names
}

func requiredHosts(names []syntax.Hostname) []string {
	var hosts []string
	for _, name := range names {
		if name.Required {
			hosts = append(hosts, name.Host)
		}
	}
	return hosts
}

// isUnresolved reports whether HAProxy's output is about a host name without an address, which may pass.
func isUnresolved(output string, names []syntax.Hostname) bool {
	return strings.Contains(output, "could not resolve address") || slices.ContainsFunc(names, func(name syntax.Hostname) bool {
		return strings.Contains(output, "invalid address: '"+name.Host+"'")
	})
}

// stageWithoutHostnames stages files for a check that looks none of the names up.
func (s *Sink) stageWithoutHostnames(files []stage.File, names []syntax.Hostname) (*stage.Stage, error) {
	files = slices.Clone(files)
	files[0].Content = syntax.WithoutHostnames(files[0].Content, names)
	return stage.NewCheck(s.paths.config, files)
}

// awaitsHostnames reports whether the backend has servers that cannot be added before their host names are looked up, where
// before is what HAProxy runs.
func (s *Sink) awaitsHostnames(before, want *syntax.Config, backend string) bool {
	return !s.hostnames.areResolved(addedHosts(before, want, []string{backend}))
}

// addedHosts returns the host names of the servers that the backends have in want and not in before.
func addedHosts(before, want *syntax.Config, backends []string) []string {
	var hosts []string
	for _, name := range backends {
		is, was := want.Backend(name), before.Backend(name)
		if is == nil {
			continue
		}
		for _, server := range is.Servers {
			stood := false
			if was != nil {
				_, stood = was.Server(server.Name)
			}
			if server.Host != "" && !stood {
				hosts = append(hosts, server.Host)
			}
		}
	}
	return hosts
}

// giveBack reports what HAProxy should run to the daemon as lost where HAProxy has ended and could not be started with it,
// because host names have no address. The daemon then applies it without their instances. It returns false where that is not so,
// or has not helped.
func (g *guard) giveBack(ctx context.Context) bool {
	content, _ := g.notes.wanted()
	if content == nil || content == g.given {
		return false
	}
	err := g.requireHostnames(ctx, content.files[0], g.asInvoked(ctx, content.hostnames()))
	if err == nil || ctx.Err() != nil {
		return false
	}
	g.given, g.next = content, time.Now().Add(lookUpAgain)
	err = fmt.Errorf("HAProxy ended and is not started with the same configuration: %w", err)
	g.log.Error("HAProxy ended; waiting for a configuration without host names that have no address", "error", err)
	g.notes.failed(err)
	g.lost(sdk.Lost{Err: err, Digest: content.digest})
	return true
}

// lookUpAdded looks up the host names of servers that doc adds at run time, after everything that needs no name has come into
// effect. It returns false where there is nothing to look up. The caller holds s.change, which is released meanwhile, so that
// nobody waits for names.
func (s *Sink) lookUpAdded(ctx context.Context, now running, doc *placed, backends []string) bool {
	inEffect := s.notes.inEffect(now)
	if inEffect == nil {
		return false
	}
	hosts := addedHosts(inEffect.config, doc.config, backends)
	if s.hostnames.areResolved(hosts) {
		return false
	}
	func() {
		uncancelled, release := s.untilStopped(ctx)
		defer release()
		s.updatePartially(uncancelled, doc)
	}()
	s.change.Unlock()
	defer s.change.Lock()
	s.hostnames.resolve(ctx, hosts)
	return true
}

// updateAhead brings into effect what needs neither a reload nor a host name, where doc needs names that have to be looked up. It
// returns the commands that it took, and whether that is so.
func (s *Sink) updateAhead(ctx context.Context, doc *placed) (did []string, ahead bool) {
	if s.hostnames.areResolved(requiredHosts(doc.hostnames())) {
		return nil, false
	}
	return s.updateNow(ctx, doc), true
}

// updateNow is updatePartially for a caller that does not hold s.change.
func (s *Sink) updateNow(ctx context.Context, doc *placed) []string {
	ctx, release := s.untilStopped(ctx)
	defer release()
	s.change.Lock()
	defer s.change.Unlock()
	return s.updatePartially(ctx, doc)
}
