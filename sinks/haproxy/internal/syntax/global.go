package syntax

import (
	"slices"
	"strings"
)

// AdminSocket returns the path of a socket on disk at which the process that runs the configuration takes every command,
// and "" if there is none.
func (c *Config) AdminSocket() string {
	for _, s := range c.sections {
		if s.kind != "global" {
			continue
		}
		for _, line := range s.lines {
			words := strings.Split(line, " ")
			if len(words) < 5 || words[0] != "stats" || words[1] != "socket" || wordAfter(line, "level") != "admin" {
				continue
			}
			if path := strings.TrimPrefix(words[2], "unix@"); strings.HasPrefix(path, "/") {
				return path
			}
		}
	}
	return ""
}

// HandsOver reports whether the admin socket gives the listening sockets to the process that comes next.
func (c *Config) HandsOver() bool {
	return c.hasGlobal(func(words []string) bool {
		return len(words) > 2 && words[0] == "stats" && words[1] == "socket" && slices.Contains(words, "expose-fd")
	})
}

func (c *Config) hasGlobal(is func(words []string) bool) bool {
	return slices.ContainsFunc(c.sections, func(s *section) bool {
		return s.kind == "global" && slices.ContainsFunc(s.lines, func(line string) bool {
			return is(strings.Split(line, " "))
		})
	})
}
