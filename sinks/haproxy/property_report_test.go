package haproxy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// report reports a difference that remains, and makes HAProxy load the next document.
func (p *property) report(what string, difference func() string) {
	p.t.Helper()
	diff := difference()
	for range 2 {
		if diff == "" {
			return
		}
		time.Sleep(200 * time.Millisecond)
		diff = difference()
	}
	if diff != "" {
		p.differs(what, diff)
	}
}

func (p *property) differs(what, diff string) {
	p.t.Helper()
	p.actions["differences"]++
	p.world.resyncs++
	p.t.Errorf("difference in %s\n%s\nafter %s\n%s\nthe file is\n%s", what, diff,
		strings.Join(p.happened, "\nand "), p.changedLines(), p.onDisk())
	if p.actions["differences"] >= most {
		p.t.Fatal("too many differences")
	}
}

// changedLines returns the lines of the file that differ from those at the last comparison.
func (p *property) changedLines() string {
	var b strings.Builder
	before, after := titledLines(p.compared), titledLines(p.onDisk())
	for _, line := range before {
		if !slices.Contains(after, line) {
			fmt.Fprintf(&b, "-%s\n", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			fmt.Fprintf(&b, "+%s\n", line)
		}
	}
	return b.String()
}

// titledLines returns the lines of a file, each with the section that it belongs to.
func titledLines(config string) []string {
	var all []string
	title := ""
	for line := range strings.SplitSeq(config, "\n") {
		if !strings.HasPrefix(line, " ") {
			title = line
		}
		if !strings.HasPrefix(line, "#") {
			all = append(all, title+": "+line)
		}
	}
	return all
}
