package haproxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A world is a made-up catalogue that changes at random, and the document for it.
//
// Each address that a document contains begins with mainPrefix, so that a HAProxy whose file has another prefix listens
// and connects elsewhere and is the same in everything else.
type world struct {
	rand     *rand.Rand
	pool     optionPool
	values   *strings.Replacer // for what options contain about the test, such as {port}
	port     int               // of the recorder
	ports    []int             // for frontends that are to come
	globals  []string
	defaults []string
	services []*service
	made     int
	resyncs  int
}

const mainPrefix, freshPrefix = "127.1.", "127.2."

type service struct {
	name, mode, balance string
	port                int
	lines               []string
	servers             []*server
	gone                []*server // that were there and may return
	between             string    // a default-server line before server number at
	at                  int
	condition           string // around the servers, or nothing
}

type server struct {
	number           int
	name, address    string
	options          []string
	quotedName       bool
	weight, maxconn  int
	disabled, backup bool
}

func (w *world) pick(words ...string) string { return words[w.rand.IntN(len(words))] }

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rand.IntN(n) == 0 }

func (w *world) newServer() *server {
	w.made++
	s := &server{number: w.made, name: fmt.Sprintf("s%d", w.made), address: w.newAddress(), weight: 1,
		quotedName: w.chance(60), backup: w.chance(9)}
	for range w.rand.IntN(4) {
		s.options = append(s.options, w.option(s))
	}
	return s
}

func (w *world) newAddress() string {
	w.made++
	return fmt.Sprintf("%s%d.%d:%d", mainPrefix, 1+w.made/250, 1+w.made%250, w.port)
}

func (w *world) option(s *server) string {
	return strings.NewReplacer("{n}", fmt.Sprint(s.number), "{h}", fmt.Sprint(1+s.number%250)).Replace(w.anyOption())
}

func (w *world) anyOption() string {
	group := w.pool.usual
	switch n := w.rand.IntN(20); {
	case n == 0:
		group = w.pool.unknown
	case n < 8:
		group = w.pool.rare
	}
	return w.values.Replace(group[w.rand.IntN(len(group))])
}

// sharedOption is one that several servers can have.
func (w *world) sharedOption() string {
	for {
		if option := w.anyOption(); !strings.ContainsAny(option, "{}") {
			return option
		}
	}
}

func (w *world) newService() *service {
	w.made++
	s := &service{name: fmt.Sprintf("svc%d", w.made), mode: w.pick("http", "http", "http", "tcp"), port: w.ports[0],
		balance: w.pick("", "roundrobin", "random", "leastconn")}
	w.ports = w.ports[1:]
	if w.chance(2) {
		s.lines = w.newLines(s)
	}
	for range w.rand.IntN(5) {
		s.servers = append(s.servers, w.newServer())
	}
	return s
}

// newLines are lines of a backend. Those that mention a server are for an existing one.
func (w *world) newLines(s *service) []string {
	lines := []string{
		"option httpchk", "option httpchk", "option httpchk GET /check", "option redispatch", "option allbackups",
		"no option allbackups", "http-reuse always", "http-reuse never", "http-reuse aggressive", "option tcp-check",
		"option ssl-hello-chk", "http-response set-header X-Name %s", `http-response set-header X-Quoted "a b"`,
		"default-server check inter 200ms", "default-server backup", "default-server weight 7 maxconn 3 disabled",
		"default-server ssl force-tlsv13", "default-server send-proxy-v2 check", "default-server " + w.sharedOption(),
		"default-server " + w.sharedOption(), "timeout check 2s",
	}
	if w.chance(6) {
		lines = w.fixingLines(s)
	}
	chosen := []string{w.pick(lines...)}
	if w.chance(3) {
		chosen = append(chosen, w.pick(lines...))
	}
	return chosen
}

// fixingLines are lines with which the number or the position of servers may matter, or the meaning of other lines.
func (w *world) fixingLines(s *service) []string {
	lines := []string{
		"cookie C insert", "stick-table type ip size 10\n stick on src", "http-response set-header X-Id %[srv_id]",
		"hash-type consistent", "http-response set-header X-Env %[env(LEGACY)]", `http-response set-header X-Env "${LEGACY}x"`,
		".notice \"a note\"", "acl hot srv_id 2\n http-response set-header X-Is hot if hot",
	}
	if len(s.servers) > 0 {
		name := s.servers[w.rand.IntN(len(s.servers))].name
		lines = append(lines, "use-server "+name+" if { src 127.0.0.9 }", "acl up srv_is_up("+s.name+"/"+name+")",
			"http-response set-header X-Up %[srv_is_up("+name+")]", "http-response set-header X-Conn %[srv_conn("+name+")]",
			"http-response set-header X-Is yes if { srv_name "+name+" }")
	}
	return lines
}

// change changes one thing, usually about a server, as in production.
func (w *world) change() {
	s := w.services[w.rand.IntN(len(w.services))]
	switch n := w.rand.IntN(100); {
	case n < 82:
		w.changeServers(s, w.rand.IntN(32))
	case n < 92:
		s.simplify()
	default:
		w.changeSections(s, 32+w.rand.IntN(8))
	}
}

// simplify removes what prevents changes of servers at run time.
func (s *service) simplify() {
	s.condition = ""
	if s.balance == "source" || s.balance == "static-rr" || s.balance == "first" {
		s.balance = "random"
	}
	s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
		return strings.Contains(line, "srv_") || strings.Contains(line, "LEGACY") || strings.Contains(line, "allbackups") ||
			!slices.Contains([]string{"option", "default-server", "http-reuse", "http-response"}, strings.Fields(line)[0])
	})
	for _, it := range s.servers {
		it.quotedName = false
	}
}

func (w *world) changeServers(s *service, n int) {
	if len(s.servers) == 0 || n < 7 && len(s.servers) < 9 {
		s.insert(w.rand.IntN(len(s.servers)+1), w.newServer())
		return
	}
	i := w.rand.IntN(len(s.servers))
	it := s.servers[i]
	switch {
	case n < 13:
		s.servers, s.gone = slices.Delete(s.servers, i, i+1), append(s.gone, it)
	case n < 19 && len(s.gone) > 0:
		j := w.rand.IntN(len(s.gone))
		back := s.gone[j]
		s.gone = slices.Delete(s.gone, j, j+1)
		if w.chance(3) {
			w.alter(back)
		}
		s.insert(w.rand.IntN(len(s.servers)+1), back)
	case n < 21:
		w.rand.Shuffle(len(s.servers), func(i, j int) { s.servers[i], s.servers[j] = s.servers[j], s.servers[i] })
	default:
		w.alter(it)
	}
}

func (s *service) insert(at int, it *server) { s.servers = slices.Insert(s.servers, at, it) }

// alter changes one thing about a server.
func (w *world) alter(it *server) {
	switch w.rand.IntN(9) {
	case 0, 1:
		it.weight = []int{0, 1, 2, 3, 10, 256}[w.rand.IntN(6)]
	case 2:
		it.maxconn = w.rand.IntN(3) * 10
	case 3:
		it.disabled = !it.disabled
	case 4:
		it.address = w.newAddress()
	case 5:
		it.backup = !it.backup
	case 6:
		if len(it.options) > 0 {
			i := w.rand.IntN(len(it.options))
			it.options = slices.Delete(it.options, i, i+1)
		}
	default:
		it.options = slices.Insert(it.options, w.rand.IntN(len(it.options)+1), w.option(it))
	}
}

func (w *world) changeSections(s *service, n int) {
	switch {
	case n < 34:
		s.lines = w.newLines(s)
	case n < 35 && w.chance(2):
		s.between, s.at = w.sharedOption(), w.rand.IntN(len(s.servers)+1)
	case n < 35:
		s.lines, s.between, s.condition = nil, "", ""
	case n < 36:
		s.balance = w.pick("", "leastconn", "random", "random", "random(1)", "source", "static-rr", "first")
	case n < 37:
		w.defaults = []string{w.pick("", "default-server fall 5", "default-server "+w.sharedOption(), "option httpchk",
			"option allbackups", "balance random", "http-reuse always")}
	case n < 38 && w.chance(3):
		w.globals = []string{w.pick("presetenv LEGACY A", "presetenv LEGACY B", "setenv LEGACY C", "unsetenv LEGACY")}
	case n < 38 && w.chance(2):
		s.condition = w.pick("", ".if version_atleast(2.4)", ".if !version_atleast(2.4)", ".if defined(LEGACY)")
	case n < 39 && len(w.services) < 6 || len(w.services) == 1:
		w.services = append(w.services, w.newService())
	default:
		w.services = slices.DeleteFunc(w.services, func(other *service) bool { return other == s })
		w.ports = append(w.ports, s.port)
	}
}

// copied returns a copy of w.
func (w *world) copied() *world {
	c := *w
	c.ports = slices.Clone(w.ports)
	c.services = nil
	for _, s := range w.services {
		service := *s
		service.servers, service.gone = copiedServers(s.servers), copiedServers(s.gone)
		c.services = append(c.services, &service)
	}
	return &c
}

func copiedServers(servers []*server) []*server {
	var copies []*server
	for _, it := range servers {
		one := *it
		one.options = slices.Clone(it.options)
		copies = append(copies, &one)
	}
	return copies
}
