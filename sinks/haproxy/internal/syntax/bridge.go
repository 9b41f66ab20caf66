package syntax

import (
	"slices"
	"strings"
)

// Bridge returns the configuration before with the servers of after in every backend that stands in both and differs in
// nothing that needs a reload, but for those that skip names. It is what can run while a reload to after is waited for. It
// returns false where that is before itself.
func Bridge(before, after *Config, skip func(backend string) bool) ([]byte, bool) {
	if !slices.Equal(defaultsOnly(before), defaultsOnly(after)) {
		return nil, false
	}
	standing := map[string]*entry{}
	for _, s := range after.sections {
		if s.hasServers() {
			standing[s.title()] = s
		}
	}
	var b strings.Builder
	b.WriteString(before.top)
	differs := false
	for _, was := range before.sections {
		raw := was.raw
		now := standing[was.title()]
		if now != nil && now.section != was.section && !skip(was.name) && crossable(before, after, was, now) {
			raw, differs = strings.TrimSuffix(now.raw, "\n")+"\n", true
		}
		b.WriteString(raw)
	}
	return []byte(b.String()), differs
}

func crossable(before, after *Config, was, now *entry) bool {
	if differentSettings(was, now) != "" {
		return false
	}
	d := compareServers(before, after, was, now)
	return len(d.changes) > 0 && len(d.reloads) == 0
}

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
