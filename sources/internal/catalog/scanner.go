package catalog

import (
	"encoding/json"
	"slices"
	"strings"
)

// A scanner reads JSON of the form that Sidecars write, without decoding values. Its methods return false for anything unusual,
// even if it is valid JSON: the caller then decodes the whole content with encoding/json. Values that are skipped are not
// validated.
type scanner struct {
	content []byte
	at      int
}

// maxScanDepth is less than the maximum depth of encoding/json, so that no part is accepted where the whole would not be.
const maxScanDepth = 1000

// object reads an object. inner reads the value of the member with that name; the others are decoded into rest, as if that one
// were null. It returns false unless exactly one member has the name, in any case.
func (sc *scanner) object(name string, inner func() bool, rest any) bool {
	sc.skipSpace()
	start, from, to := sc.at, 0, 0
	ok := sc.members(func(key []byte) bool {
		if string(key) != name {
			return !strings.EqualFold(string(key), name) && sc.skip()
		}
		if to > 0 {
			return false
		}
		sc.skipSpace()
		from = sc.at
		ok := inner()
		to = sc.at
		return ok
	})
	if !ok || to == 0 {
		return false
	}
	return json.Unmarshal(slices.Concat(sc.content[start:from], []byte("null"), sc.content[to:sc.at]), rest) == nil
}

// members reads an object. It calls value with each key to read the value.
func (sc *scanner) members(value func(key []byte) bool) bool {
	if !sc.consume('{') {
		return false
	}
	if sc.consume('}') {
		return true
	}
	for {
		key, ok := sc.key()
		if !ok || !sc.consume(':') || !value(key) {
			return false
		}
		if sc.consume('}') {
			return true
		}
		if !sc.consume(',') {
			return false
		}
	}
}

// key reads a string without escapes.
func (sc *scanner) key() ([]byte, bool) {
	if !sc.consume('"') {
		return nil, false
	}
	for i, c := range sc.content[sc.at:] {
		switch {
		case c == '"':
			key := sc.content[sc.at : sc.at+i]
			sc.at += i + 1
			return key, true
		case c == '\\', c < ' ', c > '~':
			return nil, false
		}
	}
	return nil, false
}

// skip moves to the end of the value.
func (sc *scanner) skip() bool {
	sc.skipSpace()
	depth := 0
	for ; sc.at < len(sc.content); sc.at++ {
		switch c := sc.content[sc.at]; c {
		case '"':
			if !sc.skipString() {
				return false
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return true
			}
		}
		switch {
		case depth < 0: // the end of the surrounding object
			return true
		case depth > maxScanDepth:
			return false
		}
	}
	return false
}

// skipString moves to the last byte of the string.
func (sc *scanner) skipString() bool {
	for sc.at++; sc.at < len(sc.content); sc.at++ {
		switch sc.content[sc.at] {
		case '"':
			return true
		case '\\':
			sc.at++
		}
	}
	return false
}

// consume skips white space and then c, if that is the next byte.
func (sc *scanner) consume(c byte) bool {
	sc.skipSpace()
	if sc.at == len(sc.content) || sc.content[sc.at] != c {
		return false
	}
	sc.at++
	return true
}

func (sc *scanner) skipSpace() {
	for sc.at < len(sc.content) {
		switch sc.content[sc.at] {
		case ' ', '\t', '\r', '\n':
			sc.at++
		default:
			return
		}
	}
}

// atEnd reports whether only white space follows.
func (sc *scanner) atEnd() bool {
	sc.skipSpace()
	return sc.at == len(sc.content)
}
