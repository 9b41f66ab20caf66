package haproxy

import "github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"

// A Removed is a line of a configuration that HAProxy rejects since some version because it removed what the line uses.
type Removed = syntax.Removed

// FindRemoved returns the lines of a configuration that some version of HAProxy from 1.6 to 3.5 rejects because of something that
// it removed, in order. It needs no HAProxy. In the text of a template it finds what does not depend on the template's actions,
// if they are replaced by words first.
func FindRemoved(content []byte) []Removed { return syntax.FindRemoved(content) }
