package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An entry is an instance in a catalogue. Decoding it never fails: the reason why it is invalid is in [sdk.Instance.Invalid], so
// that an invalid instance leaves the others usable.
type entry struct {
	sdk.Instance
	Ports  ports // of the instance, while it is being decoded
	Labels labels
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *entry) UnmarshalJSON(content []byte) error {
	e.read(content)
	return nil
}

// setPlace sets the hostname and the id of an invalid instance that has none to those of its place in the catalogue.
func (e *entry) setPlace(hostname, id string) {
	if e.Invalid == "" {
		return
	}
	if e.Hostname == "" {
		e.Hostname = hostname
	}
	if e.ID == "" {
		e.ID = id
	}
}

// read decodes content, which is valid JSON.
func (e *entry) read(content []byte) {
	if len(content) > maxInstance {
		e.Instance = sdk.Instance{Invalid: fmt.Sprintf("the instance has more than %d bytes", maxInstance)}
		return
	}
	type fields entry // without the method
	if json.Unmarshal(content, (*fields)(e)) != nil {
		e.Instance, e.Ports, e.Labels = readMembers(content), nil, nil
		return
	}
	e.Instance.Ports, e.Instance.Labels, e.Ports, e.Labels = e.Ports, e.Labels, nil, nil
}

// readMembers decodes each member by itself, so that the valid members of an invalid instance are known.
func readMembers(content []byte) sdk.Instance {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(content, &members); err != nil {
		return sdk.Instance{Invalid: fmt.Sprintf("the instance is %s, not an object", kindOf(bytes.TrimSpace(content)))}
	}
	var i sdk.Instance
	for _, m := range []struct {
		key  string
		into any
	}{
		{"ID", &i.ID}, {"Name", &i.Name}, {"Hostname", &i.Hostname}, {"Image", &i.Image}, {"ProxyMode", &i.ProxyMode},
		{"Status", &i.Status}, {"Created", &i.Created}, {"Updated", &i.Updated},
		{"Ports", (*ports)(&i.Ports)}, {"Labels", (*labels)(&i.Labels)},
	} {
		value, there := members[m.key]
		if !there {
			continue
		}
		if err := json.Unmarshal(value, m.into); err != nil && i.Invalid == "" {
			i.Invalid = wrongMember(m.key, value, m.into, err)
		}
	}
	if i.Invalid == "" { // a key in another case, which encoding/json accepts
		i.Invalid = "a field has the wrong type"
	}
	return i
}

// wrongMember returns the reason why a member is invalid.
func wrongMember(key string, value json.RawMessage, into any, err error) string {
	if _, isTime := into.(*time.Time); isTime {
		return key + " is not a time in RFC 3339 format, such as 2006-01-02T15:04:05Z"
	}
	if excess, ok := errors.AsType[*limitError](err); ok {
		return excess.reason
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field != "" {
			key += "." + wrong.Field
		}
		return fmt.Sprintf("%s is %s, not %s", key, gotKind(wrong), goKind(wrong.Type))
	}
	return fmt.Sprintf("%s is %s, which is not valid here", key, kindOf(value))
}

// A lenient is an optional value: one of the wrong type counts as absent.
type lenient[T any] struct{ value T }

// UnmarshalJSON implements [json.Unmarshaler].
func (l *lenient[T]) UnmarshalJSON(content []byte) error {
	if json.Unmarshal(content, &l.value) != nil {
		*l = lenient[T]{}
	}
	return nil
}
