package syntax

import "strings"

// AdminSocket returns the path of a stats socket with level admin in the configuration, or "" if there is none.
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
