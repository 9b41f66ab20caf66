package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An entry is an instance as a catalogue has it. Reading one never fails: what cannot be read is in [sdk.Instance.Invalid], so
// that one instance does not cost the others.
type entry struct {
	sdk.Instance
	Ports  ports // those of the instance, while it is being read
	Labels labels
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *entry) UnmarshalJSON(content []byte) error {
	e.read(content)
	return nil
}

// named fills in what the place of an instance says, where the instance itself could not be read.
func (e *entry) named(hostname, id string) {
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

// read reads content, which is JSON.
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

// readMembers reads each member by itself, so that as much as possible is known of an instance with a wrong one.
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
	if i.Invalid == "" { // a member whose key is written in other letters, which JSON allows
		i.Invalid = "a field has the wrong type"
	}
	return i
}

func wrongMember(key string, value json.RawMessage, into any, err error) string {
	if _, isTime := into.(*time.Time); isTime {
		return key + " is not a time as RFC 3339 wants it, 2006-01-02T15:04:05Z"
	}
	if excess, ok := errors.AsType[*excessError](err); ok {
		return excess.reason
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field != "" {
			key += "." + wrong.Field
		}
		return fmt.Sprintf("%s is %s, not %s", key, gotKind(wrong), goKind(wrong.Type))
	}
	return fmt.Sprintf("%s is %s, which does not belong there", key, kindOf(value))
}

// A lenient is a value that nothing depends on: one of the wrong type counts as absent.
type lenient[T any] struct{ value T }

// UnmarshalJSON implements [json.Unmarshaler].
func (l *lenient[T]) UnmarshalJSON(content []byte) error {
	if json.Unmarshal(content, &l.value) != nil {
		*l = lenient[T]{}
	}
	return nil
}
