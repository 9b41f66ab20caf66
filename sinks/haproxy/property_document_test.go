package haproxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// document renders the world. Its first line is a comment that differs each time.
func (w *world) document() sdk.Document {
	var b strings.Builder
	fmt.Fprintf(&b, "# rendered %d\nglobal\n description %d\n nbthread 1\n max-spread-checks 300\n ssl-server-verify none\n",
		w.rand.Int(), w.resyncs)
	for _, line := range w.globals {
		fmt.Fprintf(&b, " %s\n", line)
	}
	b.WriteString("defaults\n mode http\n retries 0\n timeout connect 5s\n timeout queue 1s\n")
	b.WriteString(" timeout client 20s\n timeout server 20s\n")
	for _, line := range w.defaults {
		fmt.Fprintf(&b, " %s\n", line)
	}
	for _, s := range w.services {
		s.write(&b)
	}
	return documentOf(b.String())
}

func (s *service) write(b *strings.Builder) {
	fmt.Fprintf(b, "frontend in-%s\n bind %s0.1:%d\n mode %s\n default_backend %s\n", s.name, mainPrefix, s.port, s.mode, s.name)
	fmt.Fprintf(b, "backend %s\n mode %s\n", s.name, s.mode)
	if s.balance != "" {
		fmt.Fprintf(b, " balance %s\n", s.balance)
	}
	for _, line := range s.lines {
		if !s.refersToNothing(line) {
			fmt.Fprintf(b, " %s\n", line)
		}
	}
	if s.condition != "" {
		fmt.Fprintf(b, " %s\n", s.condition)
	}
	for i, it := range s.servers {
		if s.between != "" && i == s.at {
			fmt.Fprintf(b, " default-server %s\n", s.between)
		}
		it.write(b)
	}
	if s.condition != "" {
		b.WriteString(" .endif\n")
	}
}

// refersToNothing reports whether a line is about a server that does not exist, which HAProxy would reject.
func (s *service) refersToNothing(line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" /()", r) })
	for _, it := range s.gone {
		if slices.Contains(words, it.name) {
			return true
		}
	}
	return false
}

func (it *server) write(b *strings.Builder) {
	name := it.name
	if it.quotedName {
		name = `"` + name + `"`
	}
	fmt.Fprintf(b, " server %s %s", name, it.address)
	if it.backup {
		b.WriteString(" backup")
	}
	if len(it.options) > 0 {
		fmt.Fprintf(b, " %s", strings.Join(it.options, " "))
	}
	if it.weight != 1 {
		fmt.Fprintf(b, " weight %d", it.weight)
	}
	if it.maxconn > 0 {
		fmt.Fprintf(b, " maxconn %d", it.maxconn)
	}
	if it.disabled {
		b.WriteString(" disabled")
	}
	b.WriteString("\n")
}
