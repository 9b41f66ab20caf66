package catalog

// An encoding is one of those that the package comment lists. The content decides and not the request: older Sidecars ignore the
// parameter that selects one.
type encoding int

const (
	encodingUnknown encoding = iota
	encodingState
	encodingEvent
	encodingServices
	encodingByService
)

// encodingOf considers the kind of a value and not its key alone, because a service may be called "Servers" too.
func encodingOf(keys map[string]kind) encoding {
	switch {
	case keys["Servers"] == '{':
		return encodingState
	case keys["State"] == '{':
		return encodingEvent
	case keys["Services"] == '{':
		return encodingServices
	case hasOnlyLists(keys):
		return encodingByService
	default:
		return encodingUnknown
	}
}

// topLevel returns the kinds of the members of the object in content, and nil if content is null.
func topLevel(content []byte) (map[string]kind, error) {
	var keys map[string]kind
	if err := unmarshal(content, depthOfAny, &keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// hasOnlyLists reports whether all values are lists, at least one of them not null: Go programs such as Sidecar may write an
// empty list as null.
func hasOnlyLists(keys map[string]kind) bool {
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

// A kind is the first byte of a JSON value, which determines its kind, or 0 for no value.
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

// unknownEncoding returns the error for content in no encoding.
func unknownEncoding(keys map[string]kind) error {
	if keys == nil {
		return invalidf("not a Sidecar catalogue: it is null")
	}
	for _, key := range []string{"Servers", "State", "Services"} {
		if value, there := keys[key]; there {
			return invalidf("not a Sidecar catalogue: the key %q is %s, not an object", key, value)
		}
	}
	return invalidf(`not a Sidecar catalogue: it has none of the keys "Servers", "State" and "Services"`)
}

// String returns the name of the kind for messages.
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
