package syntax

import (
	"bytes"
	"strconv"
)

// Normalize returns the effective lines of a configuration: without comments, without blank lines, with one space for each run of
// white space, and without quotes and escapes around words that need none. Other quoted and escaped words are unchanged.
//
// Two configurations with equal normal forms are equal to HAProxy. The reverse need not be true.
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

// appendNormalLine appends the normal form of one line to normal.
func appendNormalLine(normal, line []byte) []byte {
	start := len(normal)
	for {
		word, rest := cutWord(line)
		if len(word) == 0 {
			return normal
		}
		if len(normal) > start {
			normal = append(normal, ' ')
		}
		normal = append(normal, plain(word)...)
		line = rest
	}
}

// cutWord returns the first word of a line as it is written, and the rest. A # that is neither quoted nor escaped starts a
// comment, also in the middle of a word, and a carriage return after a word ends the line. In single quotes a backslash is an
// ordinary character.
func cutWord(line []byte) (word, rest []byte) {
	for len(line) > 0 && isBlank(line[0]) {
		line = line[1:]
	}
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\n', quote == 0 && (c == '#' || c == '\r'):
			return line[:i], nil
		case quote == 0 && isBlank(c):
			return line[:i], line[i:]
		case c == '\\' && quote != '\'' && i+1 < len(line) && line[i+1] != '\n' && line[i+1] != '\r':
			i++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
	}
	return line, nil
}

// plain returns the word without its quotes and escapes if it means the same without them, and word otherwise.
func plain(word []byte) []byte {
	if !bytes.ContainsAny(word, quotes) {
		return word
	}
	text, constant := unquoted(word)
	special := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }
	if !constant || len(text) == 0 || bytes.ContainsAny(text, quotes) || bytes.ContainsFunc(text, special) {
		return word
	}
	return text
}

// unquoted returns the value of a word. constant is false if the value depends on the environment, whose variables HAProxy
// expands in double quotes.
func unquoted(word []byte) (text []byte, constant bool) {
	constant = true
	quote := byte(0)
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(word):
			characters, length := unescaped(word[i+1:], quote)
			text = append(text, characters...)
			i += length
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		default:
			constant = constant && (c != '$' || quote != '"')
			text = append(text, c)
		}
	}
	return text, constant
}

// unescaped returns the characters of an escape sequence, and how many bytes after the backslash belong to it.
func unescaped(after []byte, quote byte) (characters []byte, length int) {
	switch c := after[0]; c {
	case ' ', '\\', '#', '\'', '"':
		return []byte{c}, 1
	case 't', 'n', 'r':
		return []byte{map[byte]byte{'t': '\t', 'n': '\n', 'r': '\r'}[c]}, 1
	case '$':
		if quote == '"' {
			return []byte{c}, 1
		}
	case 'x':
		if len(after) > 2 {
			if code, err := strconv.ParseUint(string(after[1:3]), 16, 8); err == nil {
				return []byte{byte(code)}, 3
			}
		}
	}
	return []byte{'\\'}, 0
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }
