package catalog

import (
	"encoding/json"
	"slices"
	"strings"
)

// A walker goes once through JSON of the shape that Sidecars write. It stops at whatever is unusual, though it may be good JSON:
// those who use it have another way to read it then. What it skips is not looked at closely, and has to be decoded by somebody.
type walker struct {
	content []byte
	at      int
}

// deepest is far less than encoding/json goes down, so that parts do not pass where the whole would not.
const deepest = 1000

// object goes through an object. The value of the member called name is inner's to go through; the others are decoded into
// rest, as if that one were null. It returns false where there is not exactly one of that name, in whatever letters.
func (w *walker) object(name string, inner func() bool, rest any) bool {
	w.space()
	start, from, to := w.at, 0, 0
	ok := w.members(func(key []byte) bool {
		if string(key) != name {
			return !strings.EqualFold(string(key), name) && w.skip()
		}
		if to > 0 {
			return false
		}
		w.space()
		from = w.at
		ok := inner()
		to = w.at
		return ok
	})
	if !ok || to == 0 {
		return false
	}
	return json.Unmarshal(slices.Concat(w.content[start:from], []byte("null"), w.content[to:w.at]), rest) == nil
}

// members goes through an object and calls value with each key, which has to go through the value.
func (w *walker) members(value func(key []byte) bool) bool {
	if !w.take('{') {
		return false
	}
	if w.take('}') {
		return true
	}
	for {
		key, ok := w.key()
		if !ok || !w.take(':') || !value(key) {
			return false
		}
		if w.take('}') {
			return true
		}
		if !w.take(',') {
			return false
		}
	}
}

// key returns a string that means what it looks like.
func (w *walker) key() ([]byte, bool) {
	if !w.take('"') {
		return nil, false
	}
	for i, c := range w.content[w.at:] {
		switch {
		case c == '"':
			key := w.content[w.at : w.at+i]
			w.at += i + 1
			return key, true
		case c == '\\', c < ' ', c > '~':
			return nil, false
		}
	}
	return nil, false
}

// skip goes to the end of the value.
func (w *walker) skip() bool {
	w.space()
	depth := 0
	for ; w.at < len(w.content); w.at++ {
		switch c := w.content[w.at]; c {
		case '"':
			if !w.skipString() {
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
		case depth < 0: // that of the object around it
			return true
		case depth > deepest:
			return false
		}
	}
	return false
}

// skipString goes to the last byte of the string.
func (w *walker) skipString() bool {
	for w.at++; w.at < len(w.content); w.at++ {
		switch w.content[w.at] {
		case '"':
			return true
		case '\\':
			w.at++
		}
	}
	return false
}

// take goes behind c, if that is what comes next.
func (w *walker) take(c byte) bool {
	w.space()
	if w.at == len(w.content) || w.content[w.at] != c {
		return false
	}
	w.at++
	return true
}

func (w *walker) space() {
	for w.at < len(w.content) {
		switch w.content[w.at] {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return
		}
	}
}

// isOver reports whether nothing follows.
func (w *walker) isOver() bool {
	w.space()
	return w.at == len(w.content)
}
