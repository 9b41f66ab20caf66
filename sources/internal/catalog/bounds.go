package catalog

import (
	"encoding/json"
	"fmt"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// What an instance may have. More than that makes the instance invalid before it is decoded, and costs nothing beside it.
const (
	maxInstance = 256 << 10 // bytes
	maxPorts    = 256
	maxLabels   = 256

	// From so many ports on each needs as many bytes as one that a proxy can use; Sidecar's have 39 and more.
	fewPorts     = 16
	smallestPort = 32
)

// What a catalogue takes in memory, about, in bytes: for each instance, without its strings, which are about as long as in the
// content, for each of its ports and labels, and for each host.
const (
	instanceWeight = 440
	portWeight     = 48
	labelWeight    = 160
)

// allowance is how many bytes a catalogue may take in memory, so that a few bytes of JSON cannot take a hundred times as many. A
// Sidecar's, whose instances have 300 bytes and more, takes less than its length and three quarters.
func allowance(content []byte) int { return 4<<20 + len(content)/4*7 }

func checkWeight(weight int, content []byte) error {
	if allowed := allowance(content); weight > allowed {
		return misfit("not a Sidecar catalogue: it has so many small values that it would need more than %d bytes", allowed)
	}
	return nil
}

// An excessError says of which member an instance has too much.
type excessError struct{ reason string }

func (e *excessError) Error() string { return e.reason }

// ports are decoded only if there are not too many.
type ports []sdk.Port

// UnmarshalJSON implements [json.Unmarshaler].
func (p *ports) UnmarshalJSON(content []byte) error {
	n := elements(content)
	switch {
	case n > maxPorts:
		return &excessError{fmt.Sprintf("Ports has more than %d entries", maxPorts)}
	case n > fewPorts && len(content) < smallestPort*n:
		return &excessError{"Ports has many entries that do not say enough to be ports"}
	case n > 0:
		*p = make(ports, 0, n)
	}
	return json.Unmarshal(content, (*[]sdk.Port)(p))
}

// labels are decoded only if there are not too many.
type labels map[string]string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *labels) UnmarshalJSON(content []byte) error {
	if elements(content) > maxLabels {
		return &excessError{fmt.Sprintf("Labels has more than %d entries", maxLabels)}
	}
	return json.Unmarshal(content, (*map[string]string)(l))
}

// elements returns how many elements a list has, or members an object; one for those that are empty, and none for other values.
func elements(content []byte) int {
	n := 0
	structure(content, func(c byte, depth int) {
		if depth == 0 && (c == '{' || c == '[') || depth == 1 && c == ',' {
			n++
		}
	})
	return n
}

// weightOf returns about how many bytes a catalogue takes in memory whose instances are so deep in content. What an instance has
// too much of is not decoded, and not counted.
func weightOf(content []byte, depth int) int {
	weight, entries := 0, 0
	structure(content, func(c byte, at int) {
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

// structure calls each for the brackets and commas of content that are in no string, with the number of brackets around them.
func structure(content []byte, each func(c byte, depth int)) {
	depth := 0
	for w := (walker{content: content}); w.at < len(content); w.at++ {
		switch c := content[w.at]; c {
		case '"':
			w.skipString()
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
