package haproxy

import (
	"bytes"
	"fmt"
	"slices"
)

// normalize returns the lines of a configuration that mean something to HAProxy, one a line: without comments, without
// blank lines, and with one space for every run of white space. Quoted and escaped characters are left alone.
//
// Two configurations with equal normal forms are the same to HAProxy; the reverse is not promised.
func normalize(config []byte) []byte {
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

// sectionWords start a section of a configuration.
var sectionWords = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "program", "cache",
	"ring", "http-errors", "fcgi-app", "log-forward", "log-profile", "crt-store", "traces",
}

// firstChange says for people where two normal forms part: the section and the line.
func firstChange(before, after []byte) string {
	old, now := bytes.Split(before, []byte("\n")), bytes.Split(after, []byte("\n"))
	section := "the top"
	for i := range max(len(old), len(now)) {
		was, is := lineAt(old, i), lineAt(now, i)
		if !bytes.Equal(was, is) {
			return describeChange(section, was, is)
		}
		if word, _, _ := bytes.Cut(is, []byte(" ")); slices.Contains(sectionWords, string(word)) {
			section = string(is)
		}
	}
	return "nothing that HAProxy would notice"
}

func lineAt(lines [][]byte, i int) []byte {
	if i < len(lines) {
		return lines[i]
	}
	return nil
}

// longestShown bounds a line of the configuration inside a sentence, in bytes.
const longestShown = 100

func describeChange(section string, was, is []byte) string {
	switch {
	case len(is) == 0:
		return fmt.Sprintf("the configuration ends earlier, in %s", section)
	case len(was) == 0:
		return fmt.Sprintf("the configuration goes on after %s: %s", section, clip(is))
	default:
		return fmt.Sprintf("the configuration differs in %s, first at: %s", section, clip(is))
	}
}

func clip(line []byte) []byte {
	if len(line) <= longestShown {
		return line
	}
	return append(slices.Clone(line[:longestShown]), "…"...)
}
