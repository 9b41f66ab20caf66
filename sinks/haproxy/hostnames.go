package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// confirmHostname reports whether HAProxy finds an address of the host when it reads a configuration with that name.
func (s *Sink) confirmHostname(ctx context.Context, host string) bool {
	l, err := s.controller.Invocation(ctx)
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
	alone := process.Invocation{Program: l.Program, Args: []string{"-f", file.Name()}, Dir: l.Dir, Env: l.Env}
	o, err := alone.CheckCommand(ctx, nil, nil).Run(ctx)
	return err == nil && o.Code == 0
}

// resolveAgain is when a document is retried whose host names have no address.
const resolveAgain = 10 * time.Second

// requireHostnames looks up the names in the main file without which HAProxy does not load it. If some have no address, it
// returns a temporary rejection with their positions.
func (s *Sink) requireHostnames(ctx context.Context, main stage.File, names []syntax.Hostname) error {
	hosts := requiredHosts(names)
	if len(hosts) == 0 {
		return nil
	}
	defer report.Step(ctx, "resolve")()
	found := s.resolver.Resolve(ctx, hosts)
	var positions []sdk.Position
	for _, name := range names {
		if err := found[name.Host].Err; name.Required && err != nil {
			positions = append(positions, sdk.Position{File: main.Name, Path: main.Path, Line: name.Line,
				Problem: fmt.Sprintf("%s: the host name %s has no address: %v", name.Keyword, name.Host, err)})
		}
	}
	if len(positions) == 0 {
		return nil
	}
	return sdk.RetryAfter(&sdk.Rejection{
		Err: errors.New("host names that HAProxy needs have no address at present"), Positions: positions, Temporary: true,
	}, resolveAgain)
}

// asInvoked returns the names as they are for a HAProxy with the options of ours: with -dr, servers need not have an address.
func (s *Sink) asInvoked(ctx context.Context, names []syntax.Hostname) []syntax.Hostname {
	if len(names) == 0 {
		return nil
	}
	l, err := s.controller.Invocation(ctx)
	if err != nil || !slices.Contains(l.Args, "-dr") {
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

// isUnresolved reports whether HAProxy's output is about a host name without an address, which may be temporary.
func isUnresolved(output string, names []syntax.Hostname) bool {
	return strings.Contains(output, "could not resolve address") || slices.ContainsFunc(names, func(name syntax.Hostname) bool {
		return strings.Contains(output, "invalid address: '"+name.Host+"'")
	})
}

// stageWithoutHostnames stages files for a check that does not look up the names.
func (s *Sink) stageWithoutHostnames(files []stage.File, names []syntax.Hostname) (*stage.Stage, error) {
	files = slices.Clone(files)
	files[0].Content = syntax.WithoutHostnames(files[0].Content, names)
	return stage.NewCheck(s.paths.ConfigFile, files)
}

// awaitsHostnames reports whether the backend has servers that cannot be added before their host names are looked up. HAProxy
// runs before.
func (s *Sink) awaitsHostnames(before, want *syntax.Config, backend string) bool {
	return !s.resolver.Resolved(addedHosts(before, want, []string{backend}))
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
			existed := false
			if was != nil {
				_, existed = was.Server(server.Name)
			}
			if server.Host != "" && !existed {
				hosts = append(hosts, server.Host)
			}
		}
	}
	return hosts
}

// reportUnresolved reports the desired document to the daemon as lost if HAProxy has ended and cannot be started with it, because
// host names have no address. The daemon then applies a document without their instances. It returns false if all names have an
// address, or if the document was reported already. The caller holds s.files and s.change.
func (s *supervisor) reportUnresolved(ctx context.Context) bool {
	doc := s.state.Load().desired
	if doc == nil || doc == s.reported {
		return false
	}
	err := s.requireHostnames(ctx, doc.files[0], s.asInvoked(ctx, doc.hostnames()))
	if err == nil || ctx.Err() != nil {
		return false
	}
	s.reported, s.nextLoad = doc, time.Now().Add(resolveAgain)
	err = fmt.Errorf("HAProxy ended and cannot be started with the same configuration: %w", err)
	s.log.Error("HAProxy ended; waiting for a configuration whose host names all have an address", "error", err)
	s.update(func(st *state) { st.startErr = err })
	s.lost(sdk.Lost{Err: err, Digest: doc.digest})
	return true
}

// resolveAdded looks up the host names of servers that doc adds at run time, after it has applied everything that
// needs no name. It returns false if there is nothing to look up. The caller holds s.change, which resolveAdded releases
// meanwhile, so that no other change waits for host names.
func (s *Sink) resolveAdded(ctx context.Context, now process.Instance, doc *document, backends []string) bool {
	applied := s.state.Load().applied(now)
	if applied == nil {
		return false
	}
	hosts := addedHosts(applied.config, doc.config, backends)
	if s.resolver.Resolved(hosts) {
		return false
	}
	func() {
		uncancelled, release := s.contextUntilStop(ctx)
		defer release()
		s.updatePartially(uncancelled, doc)
	}()
	s.change.Unlock()
	defer s.change.Lock()
	defer report.Step(ctx, "resolve")()
	s.resolver.Resolve(ctx, hosts)
	return true
}

// updateBeforeResolving makes a partial update if doc needs host names that have to be looked up. It reports whether there are
// such names.
func (s *Sink) updateBeforeResolving(ctx context.Context, doc *document) bool {
	if s.resolver.Resolved(requiredHosts(doc.hostnames())) {
		return false
	}
	s.lockAndUpdatePartially(ctx, doc)
	return true
}
