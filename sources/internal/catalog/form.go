package catalog

// A form is one of the encodings. What was asked for does not tell them apart: older Sidecars ignore the parameter.
type form int

const (
	formNone form = iota
	formState
	formEvent
	formServices
	formByService
)

// formOf goes by the kind of a value and not by its key alone, for a service may be called "Servers" too.
func formOf(keys map[string]kind) form {
	switch {
	case keys["Servers"] == '{':
		return formState
	case keys["State"] == '{':
		return formEvent
	case keys["Services"] == '{':
		return formServices
	case onlyLists(keys):
		return formByService
	default:
		return formNone
	}
}

// topLevel returns the kinds of the members of the one object in content: nil where it is the value null.
func topLevel(content []byte) (map[string]kind, error) {
	var keys map[string]kind
	if err := unmarshal(content, depthOfAny, &keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// onlyLists reports whether there is a list and nothing that is neither list nor null, as which Go programs such as
// Sidecar may write a list without elements.
func onlyLists(keys map[string]kind) bool {
	lists := 0
	for _, value := range keys {
		switch value {
		case '[':
			lists++
		case 'n':
		default:
			return false
		}
	}
	return lists > 0
}

// A kind is the first byte of a JSON value, which tells its kind, or 0 where there is none.
type kind byte

// UnmarshalJSON implements [json.Unmarshaler].
func (k *kind) UnmarshalJSON(content []byte) error {
	*k = kindOf(content)
	return nil
}

func kindOf(value []byte) kind {
	if len(value) == 0 {
		return 0
	}
	return kind(value[0])
}

func whyNone(keys map[string]kind) error {
	if keys == nil {
		return misfit("not a Sidecar catalogue: it is the value null")
	}
	for _, key := range []string{"Servers", "State", "Services"} {
		if value, there := keys[key]; there {
			return misfit("not a Sidecar catalogue: the key %q is %s, not an object", key, value)
		}
	}
	return misfit(`not a Sidecar catalogue: none of the keys "Servers", "State" and "Services" is there`)
}

// String says what it is, for people.
func (k kind) String() string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	default:
		return "a number"
	}
}
