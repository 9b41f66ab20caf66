package syntax

import "bytes"

// Normalize returns the lines of a configuration that mean something to HAProxy, one a line: without comments, without
// blank lines, and with one space for every run of white space. Quoted and escaped characters are left alone.
//
// Two configurations with equal normal forms are the same to HAProxy; the reverse is not promised.
func Normalize(config []byte) []byte {
	normal := make([]byte, 0, len(config))
	for line := range bytes.SplitSeq(config, []byte("\n")) {
		before := len(normal)
		normal = appendNormalLine(normal, line)
		if len(normal) > before {
			normal = append(normal, '\n')
		}
	}
	return normal
}

// appendNormalLine appends the normal form of one line to normal. HAProxy starts a comment at every # that is neither
// quoted nor escaped, also in the middle of a word; in single quotes a backslash is an ordinary character.
func appendNormalLine(normal, line []byte) []byte {
	start := len(normal)
	quote := byte(0)
	gap := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if quote == 0 && c == '#' {
			break
		}
		if quote == 0 && isBlank(c) {
			gap = true
			continue
		}
		if gap && len(normal) > start {
			normal = append(normal, ' ')
		}
		gap = false
		normal = append(normal, c)
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			normal = append(normal, line[i])
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
	}
	return normal
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }
