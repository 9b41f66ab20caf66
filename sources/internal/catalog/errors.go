package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// ErrEmpty means that there was nothing to decode, or white space only. A Sidecar sends that when it tries again, see
// the sidecar package.
var ErrEmpty = errors.New("it is empty: a JSON object is missing")

// An Error says in one sentence why some bytes are not a catalogue. The sentence has nothing of the bytes in it that
// could harm a terminal or a log.
type Error struct {
	Reason string
	Offset int64 // of the byte at which reading stopped, counted from 0; -1 where it is about no single place
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s (at byte %d)", e.Reason, e.Offset)
}

// misfit is the error for JSON that is fine, and something else than a catalogue.
func misfit(format string, args ...any) *Error {
	return &Error{Reason: fmt.Sprintf(format, args...), Offset: -1}
}

// CheckJSON returns nil if content is one JSON value and nothing else, whatever it says. The error is an [*Error], or
// [ErrEmpty].
func CheckJSON(content []byte) error {
	var value json.RawMessage
	return unmarshal(content, depthOfAny, &value)
}

func explain(content []byte, err error) *Error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &Error{Reason: wrongType(wrong), Offset: wrong.Offset}
	}
	if bad, ok := errors.AsType[*time.ParseError](err); ok {
		// The first place with that text is the right one: decoding stopped at the first.
		at := bytes.Index(content, []byte(bad.Value))
		return &Error{Reason: "a time is not written as RFC 3339 wants it, 2006-01-02T15:04:05Z", Offset: int64(at)}
	}
	if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntaxError(content, bad)
	}
	return misfit("a time is not a string as RFC 3339 wants it, 2006-01-02T15:04:05Z")
}

func syntaxError(content []byte, bad *json.SyntaxError) *Error {
	var raw json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(content)).Decode(&raw); errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Reason: "the JSON ends in the middle, as if cut off", Offset: int64(len(content))}
	}
	// The decoder has counted the offending byte already.
	return &Error{Reason: "not JSON: " + bad.Error(), Offset: max(bad.Offset-1, 0)}
}

func wrongType(e *json.UnmarshalTypeError) string {
	got, want := gotKind(e), goKind(e.Type)
	if e.Field == "" {
		return fmt.Sprintf("not a Sidecar catalogue: %s where %s belongs", got, want)
	}
	return fmt.Sprintf("%q has %s where %s belongs", e.Field, got, want)
}

// gotKind says what is there where something else belongs.
func gotKind(e *json.UnmarshalTypeError) string {
	kind, _, _ := strings.Cut(e.Value, " ") // a number's digits follow, as many as somebody likes to send
	got := jsonKinds[kind]
	switch {
	case got == "":
		return "something else"
	case got == "a number" && goKind(e.Type) == "a whole number":
		return "a broken or too large number"
	}
	return got
}

var jsonKinds = map[string]string{
	"object": "an object", "array": "a list", "string": "a string", "number": "a number", "bool": "true or false",
}

func goKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}
