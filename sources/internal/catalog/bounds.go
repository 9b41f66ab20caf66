package catalog

import (
	"encoding/json"
	"fmt"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Bounds of an instance. One that exceeds them is invalid and is not decoded; the others are.
const (
	maxInstance = 256 << 10 // bytes
	maxPorts    = 256
	maxLabels   = 256

	// Of more than fewPorts ports each must have smallestPort bytes, less than a usable one has; Sidecar's have at least 39.
	fewPorts     = 16
	smallestPort = 32
)

// The approximate memory of a catalogue in bytes: for each instance without its strings, which are about as long as in the
// content, for each port, and for each label and host.
const (
	instanceWeight = 440
	portWeight     = 48
	labelWeight    = 160
)

// maxWeight returns how many bytes of memory the catalogue in content may take, so that a few bytes of JSON cannot take a hundred
// times as many. A Sidecar's instances have at least 300 bytes, and its catalogue takes less than 1.75 times its length.
func maxWeight(content []byte) int { return 4<<20 + len(content)/4*7 }

func checkWeight(weight int, content []byte) error {
	if allowed := maxWeight(content); weight > allowed {
		return invalidf("not a Sidecar catalogue: its many small values would take more than %d bytes of memory", allowed)
	}
	return nil
}

// A limitError means that a member of an instance exceeds its bound.
type limitError struct{ reason string }

func (e *limitError) Error() string { return e.reason }

// ports are decoded only within the bounds.
type ports []sdk.Port

// UnmarshalJSON implements [json.Unmarshaler].
func (p *ports) UnmarshalJSON(content []byte) error {
	n := elements(content)
	switch {
	case n > maxPorts:
		return &limitError{fmt.Sprintf("Ports has more than %d entries", maxPorts)}
	case n > fewPorts && len(content) < smallestPort*n:
		return &limitError{"Ports has many entries that are too short to be ports"}
	case n > 0:
		*p = make(ports, 0, n)
	}
	return json.Unmarshal(content, (*[]sdk.Port)(p))
}

// labels are decoded only within the bounds.
type labels map[string]string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *labels) UnmarshalJSON(content []byte) error {
	if elements(content) > maxLabels {
		return &limitError{fmt.Sprintf("Labels has more than %d entries", maxLabels)}
	}
	return json.Unmarshal(content, (*map[string]string)(l))
}

// elements returns the number of elements of a list or members of an object: 1 for an empty one, and 0 for other values.
func elements(content []byte) int {
	n := 0
	scanBrackets(content, func(c byte, depth int) {
		if depth == 0 && (c == '{' || c == '[') || depth == 1 && c == ',' {
			n++
		}
	})
	return n
}

// weightOf returns approximately how many bytes of memory a catalogue takes whose instances are at that depth of content. Ports
// and labels beyond the bounds are not decoded and not counted.
func weightOf(content []byte, depth int) int {
	weight, entries := 0, 0
	scanBrackets(content, func(c byte, at int) {
		switch {
		case at == depth+2 && c == ',': // between ports or labels
			entries++
		case at <= depth && c == ',':
			weight += labelWeight
		case at == depth && c == '{':
			weight, entries = weight+instanceWeight-labelWeight, 0
		case at == depth && c == '}' && entries <= maxPorts+maxLabels:
			weight += entries * labelWeight / 2
		}
	})
	return weight
}

// scanBrackets calls each for the brackets and commas of content outside strings, with the number of brackets around them.
func scanBrackets(content []byte, each func(c byte, depth int)) {
	depth := 0
	for sc := (scanner{content: content}); sc.at < len(content); sc.at++ {
		switch c := content[sc.at]; c {
		case '"':
			sc.skipString()
		case '{', '[':
			each(c, depth)
			depth++
		case '}', ']':
			depth--
			each(c, depth)
		case ',':
			each(c, depth)
		}
	}
}
