package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

const (
	// alignLimit bounds one alignment. It takes about 0.15 ms for each command, and is given up for a reload.
	alignLimit = 10 * time.Second
	// alignRounds is how often HAProxy is told and read back before it is given up for a reload.
	alignRounds = 3
	// manyBackends is from how many backends on all servers are read in one go.
	manyBackends = 50
)

// A live is the running HAProxy, as far as it takes changes without a reload. It belongs to whoever holds Sink.change.
//
// Facts it builds on, measured on 2.6.12 and 3.0.11: an added server is in maintenance, with its checks off, and inherits
// nothing from default-server. A server that drains gets no new requests and keeps those it has. A server is deleted only
// in maintenance and without connections.
type live struct {
	endpoint  func(running) (runtimeapi.Endpoint, error)
	infos     *runtimeapi.Infos
	hostnames *hostnames
	drain     time.Duration // how long a server that leaves may finish what it has

	now      running // whom all below is about
	conn     *runtimeapi.Conn
	oldLua   bool              // its Lua scripts see the servers of the start, and use those that were deleted
	before30 bool              // it is older than 3.0
	leaving  map[string]leaver // by "backend/server"
	changes  int               // how often servers were to be changed, ever
	changed  map[string]int    // by backend, what changes was then for the last time
	stubborn map[string]string // backends whose servers HAProxy would not change, with its words
	tooOld   string            // says that its version takes no changes; empty for one that does
}

// A leaver is a server that is in HAProxy still, though not in the document.
type leaver struct {
	was   syntax.Server // its last line
	known bool          // was is known; it is not for a server that somebody else added
	until time.Time
}

// about forgets what was known of another HAProxy.
func (l *live) about(now running) {
	if !now.same(l.now) {
		l.loaded(now)
	}
}

// loaded forgets all that was known of HAProxy before it loaded something, also where its process is the same as before, as with
// a master that a command reloads in place.
func (l *live) loaded(now running) {
	l.hangUp()
	l.now, l.leaving, l.stubborn, l.tooOld = now, map[string]leaver{}, map[string]string{}, ""
	l.changed = map[string]int{}
}

func (l *live) hangUp() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn = nil
}

// align makes the servers of the named backends what want says, where before is what ran until now, and returns the
// commands that it took. What runs is read before and after: nil means that it was seen to be what want says. After an
// error anything between the two may run.
func (l *live) align(ctx context.Context, before, want *syntax.Config, backends []string) (did []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, alignLimit, errNoAnswer)
	defer cancel()
	l.changes++
	for _, name := range backends {
		l.changed[name] = l.changes
	}
	// Beginning again does no harm, because each attempt begins with reading. The connection may have been closed by
	// HAProxy out of boredom.
	const attempts = 3
	for range attempts {
		if err = l.connect(ctx); err == nil {
			var more []string
			more, err = l.settle(ctx, before, want, backends)
			did = append(did, more...)
		}
		if err == nil || isFinal(err) || ctx.Err() != nil {
			return did, err
		}
		l.hangUp()
	}
	return did, err
}

var errNoAnswer = errors.New("HAProxy does not answer in time")

// An unableError says why the HAProxy that runs cannot be changed, nor asked what it runs.
type unableError struct{ sentence string }

func (e *unableError) Error() string { return e.sentence }

// isFinal reports whether another connection would bring nothing else.
func isFinal(err error) bool {
	_, refused := errors.AsType[*refusal](err)
	_, unable := errors.AsType[*unableError](err)
	return refused || unable || errors.Is(err, runtimeapi.ErrBusy)
}

// connect sees to a connection to the process that is known to serve.
func (l *live) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, runtimeapi.AnswerTimeout, errNoAnswer)
	defer cancel()
	// A process without our master may have a new worker by now, and this be the connection to the old one. A master of HAProxy
	// 3.2 has a place at its worker only while that answers, and there may be none now.
	if l.conn != nil {
		if err := l.introduce(ctx); err == nil {
			return nil
		}
		l.hangUp()
	}
	to, err := l.endpoint(l.now)
	if err != nil {
		return err
	}
	if _, err := l.infos.Get(ctx, to); errors.Is(err, runtimeapi.ErrBusy) { // another connection would be one more that waits
		return err
	}
	conn, err := runtimeapi.Dial(ctx, to)
	if err != nil {
		return fmt.Errorf("HAProxy takes no commands on %s: %w", to.Path, err)
	}
	l.conn = conn
	if err := l.introduce(ctx); err != nil {
		l.hangUp()
		return err
	}
	return nil
}

// introduce makes sure of who answers and what it can do.
func (l *live) introduce(ctx context.Context) error {
	answers, err := l.conn.Do(ctx, "show info")
	if err != nil {
		return err
	}
	i := runtimeapi.ParseInfo(answers[0])
	if pid := l.now.pid(); !i.ServedBy(pid) && !answeredByChildOf(pid, i) {
		return &unableError{fmt.Sprintf("it is not process %d that answers, or it is about to end", pid)}
	}
	major, minor := runtimeapi.ParseVersion(i["Version"])
	if major < 2 || major == 2 && minor < oldestMinor {
		l.tooOld = fmt.Sprintf("HAProxy %s is not changed at run time, 2.%d and newer are", i["Version"], oldestMinor)
		return &unableError{l.tooOld}
	}
	l.oldLua = major == 2 && minor < 8
	l.before30 = major < 3
	return nil
}

// oldestMinor is of the first version 2.x that is changed at run time. 2.4 and 2.5 do so only in their experimental mode, and
// 2.4 deletes none of the servers in the file.
const oldestMinor = 6

// settle reads what runs and tells HAProxy what differs, until nothing does. A backend that cannot be had does not keep the
// others from it.
func (l *live) settle(ctx context.Context, before, want *syntax.Config, backends []string) (did []string, err error) {
	for range alignRounds {
		draining := l.drainingBackends() // in which a bound may stand that neither of the two mentions
		seen, err := l.read(ctx, backends, func(name string) bool {
			return bounded(want.Backend(name)) || bounded(before.Backend(name)) || draining[name]
		})
		if err != nil {
			return did, err
		}
		l.lookUpMissing(ctx, want, backends, seen)
		var commands []command
		var refused error
		for _, name := range backends {
			more, err := l.commands(ctx, want.Backend(name), seen)
			commands = append(commands, more...)
			refused = cmp.Or(refused, err)
		}
		if len(commands) == 0 {
			l.noteLeaving(before, want, backends, seen)
			return did, refused
		}
		for _, c := range commands {
			did = append(did, c.text)
		}
		if err := l.run(ctx, commands); err != nil {
			return did, err
		}
	}
	return did, &refusal{sentence: "HAProxy took all commands and still runs something else"}
}

// lookUpMissing looks up the host names of the servers that have to be added, all of them at a time.
func (l *live) lookUpMissing(ctx context.Context, want *syntax.Config, backends []string, s seen) {
	var hosts []string
	for _, name := range backends {
		for _, server := range want.Backend(name).Servers {
			if _, there := s.server(name, server.Name); !there && server.Host != "" {
				hosts = append(hosts, server.Host)
			}
		}
	}
	if len(hosts) > 0 {
		l.hostnames.resolve(ctx, hosts)
	}
}

// seen is what HAProxy says that it runs.
type seen struct {
	servers map[string][]runtimeapi.Server // by backend, in HAProxy's order
	byID    map[string]runtimeapi.Server   // by backend/server
	loads   map[string]runtimeapi.Load     // by backend/server, of the backends where they matter
}

func (s seen) server(backend, name string) (runtimeapi.Server, bool) {
	is, there := s.byID[backend+"/"+name]
	return is, there
}

// read asks for the servers of the named backends, and for the loads of those for which that is wanted: statistics are
// long.
func (l *live) read(ctx context.Context, backends []string, loads func(backend string) bool) (seen, error) {
	s := seen{map[string][]runtimeapi.Server{}, map[string]runtimeapi.Server{}, map[string]runtimeapi.Load{}}
	questions := []string{"show servers state"}
	if len(backends) < manyBackends {
		questions = nil
		for _, name := range backends {
			questions = append(questions, "show servers state "+name)
		}
	}
	answers, err := l.conn.Do(ctx, questions...)
	if err != nil {
		return s, err
	}
	for _, answer := range answers {
		servers, err := runtimeapi.ParseServers(answer)
		if err != nil {
			return s, err
		}
		for _, server := range servers {
			s.servers[server.Backend] = append(s.servers[server.Backend], server)
			s.byID[server.Backend+"/"+server.Name] = server
		}
	}
	questions = nil
	for _, name := range backends {
		if servers := s.servers[name]; len(servers) > 0 && loads(name) {
			questions = append(questions, fmt.Sprintf("show stat %d 4 -1", servers[0].BackendID))
		}
	}
	return s, l.readLoads(ctx, s, questions)
}

func (l *live) readLoads(ctx context.Context, s seen, questions []string) error {
	answers, err := l.conn.Do(ctx, questions...)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		loads, err := runtimeapi.ParseLoads(answer)
		if err != nil {
			return err
		}
		maps.Copy(s.loads, loads)
	}
	return nil
}

func bounded(b *syntax.Backend) bool {
	return b != nil && slices.ContainsFunc(b.Servers, func(s syntax.Server) bool { return s.MaxConn > 0 })
}

// noteLeaving remembers which servers are there that nobody wants.
func (l *live) noteLeaving(before, want *syntax.Config, backends []string, s seen) {
	for _, name := range backends {
		b := want.Backend(name)
		for _, is := range s.servers[name] {
			id := name + "/" + is.Name
			if _, wanted := b.Server(is.Name); wanted || !b.Complete() {
				delete(l.leaving, id)
				continue
			}
			if _, known := l.leaving[id]; known {
				continue
			}
			gone := leaver{until: time.Now().Add(l.drain)}
			if old := before.Backend(name); old != nil {
				gone.was, gone.known = old.Server(is.Name)
			}
			l.leaving[id] = gone
		}
	}
}
