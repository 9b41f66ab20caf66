package syntax

import (
	"slices"
	"strings"
)

// PartialUpdate returns the configuration before with the servers of after, in each backend that both have, that differs in
// nothing that needs a reload, and that skip does not name. HAProxy can run it while a reload to after is pending. It returns
// false if that is the configuration before.
func PartialUpdate(before, after *Config, skip func(backend string) bool) ([]byte, bool) {
	if !slices.Equal(defaultsOnly(before), defaultsOnly(after)) {
		return nil, false
	}
	sections := map[string]*entry{} // of after, by title
	for _, s := range after.sections {
		if s.hasServers() {
			sections[s.title()] = s
		}
	}
	var b strings.Builder
	b.WriteString(before.top)
	differs := false
	for _, was := range before.sections {
		raw := was.raw
		now := sections[was.title()]
		if now != nil && now.section != was.section && !skip(was.name) && onlyServersDiffer(before, after, was, now) {
			raw, differs = strings.TrimSuffix(now.raw, "\n")+"\n", true
		}
		b.WriteString(raw)
	}
	return []byte(b.String()), differs
}

// onlyServersDiffer reports whether the sections differ in servers that can be changed at run time, and in nothing else.
func onlyServersDiffer(before, after *Config, was, now *entry) bool {
	if differentSettings(was, now) != "" {
		return false
	}
	d := compareServers(before, after, was, now)
	return len(d.changes) > 0 && len(d.reloads) == 0
}

// defaultsOnly returns the lines of all defaults sections.
func defaultsOnly(c *Config) []string {
	var all []string
	for _, s := range c.sections {
		if s.kind == "defaults" {
			all = append(all, s.header)
			all = append(all, s.lines...)
		}
	}
	return all
}
