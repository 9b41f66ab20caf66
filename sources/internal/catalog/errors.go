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

// ErrEmpty means that the content is empty or white space. A Sidecar that retries a push sends an empty body, see package
// sidecar.
var ErrEmpty = errors.New("it is empty: expected a JSON object")

// An Error is the reason why some content is not a catalogue. The text quotes nothing of the content that could harm a terminal
// or a log.
type Error struct {
	Reason string
	Offset int64 // of the byte at which reading stopped, from 0; -1 if no single byte is wrong
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s (at byte %d)", e.Reason, e.Offset)
}

// invalidf returns the error for valid JSON that is not a catalogue.
func invalidf(format string, args ...any) *Error {
	return &Error{Reason: fmt.Sprintf(format, args...), Offset: -1}
}

// CheckJSON returns nil if content is exactly one JSON value. The error is an [*Error], or [ErrEmpty].
func CheckJSON(content []byte) error {
	var value json.RawMessage
	return unmarshal(content, depthOfAny, &value)
}

// decodeError returns the error of encoding/json for content as an [*Error].
func decodeError(content []byte, err error) *Error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &Error{Reason: wrongType(wrong), Offset: wrong.Offset}
	}
	if bad, ok := errors.AsType[*time.ParseError](err); ok {
		// Decoding stopped at the first value with that text.
		at := bytes.Index(content, []byte(bad.Value))
		return &Error{Reason: "a time is not in RFC 3339 format, such as 2006-01-02T15:04:05Z", Offset: int64(at)}
	}
	if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntaxError(content, bad)
	}
	return invalidf("a time is not a string in RFC 3339 format, such as 2006-01-02T15:04:05Z")
}

func syntaxError(content []byte, bad *json.SyntaxError) *Error {
	var raw json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(content)).Decode(&raw); errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Reason: "the JSON is truncated", Offset: int64(len(content))}
	}
	// The offset of the decoder is behind the invalid byte.
	return &Error{Reason: "not JSON: " + bad.Error(), Offset: max(bad.Offset-1, 0)}
}

func wrongType(e *json.UnmarshalTypeError) string {
	got, want := gotKind(e), goKind(e.Type)
	if e.Field == "" {
		return fmt.Sprintf("not a Sidecar catalogue: expected %s, got %s", want, got)
	}
	return fmt.Sprintf("%q: expected %s, got %s", e.Field, want, got)
}

// gotKind names the kind of the value that has the wrong type.
func gotKind(e *json.UnmarshalTypeError) string {
	kind, _, _ := strings.Cut(e.Value, " ") // the digits of a number follow, in any number
	got := jsonKinds[kind]
	switch {
	case got == "":
		return "another value"
	case got == "a number" && goKind(e.Type) == "a whole number":
		return "a fraction or a number that is too large"
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
