package file

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// text accepts numbers too: an id or the tag of an image often looks like one.
func (r *reader) text(key string, into *string) field {
	return field{key, func(n *yaml.Node) {
		if kind := kindOf(n); kind != text && kind != number {
			r.invalidf(n, "%s must be a text and is %s", key, kind)
			return
		}
		*into = n.Value
	}}
}

// number accepts texts too.
func (r *reader) number(key string, into *int64) field {
	return field{key, func(n *yaml.Node) {
		value, err := strconv.ParseInt(inJSON(n), 10, 64)
		if err != nil || kindOf(n) != number && kindOf(n) != text {
			r.invalidf(n, "%s must be a whole number and is %s", key, kindOf(n))
			return
		}
		*into = value
	}}
}

// inJSON returns the value of a number in JSON's notation, and other values as they are.
func inJSON(n *yaml.Node) string {
	if kindOf(n) != number {
		return n.Value
	}
	content, _ := scalarJSON(n) // the resolver has checked it
	return string(content)
}

func (r *reader) time(key string, into *time.Time) field {
	return field{key, func(n *yaml.Node) {
		value, err := time.Parse(time.RFC3339Nano, n.Value)
		if err != nil {
			r.invalidf(n, "%s must be a time as of RFC 3339, such as 2006-01-02T15:04:05Z, and is %q", key, n.Value)
			return
		}
		*into = value
	}}
}

func (r *reader) oneOf(key string, into *string, values ...string) field {
	return field{key, func(n *yaml.Node) {
		value := strings.ToLower(n.Value)
		if kindOf(n) != text || !slices.Contains(values, value) {
			r.invalidf(n, "%s must be one of %s and is %q", key, strings.Join(values, ", "), n.Value)
			return
		}
		*into = value
	}}
}

func (r *reader) status(key string, into *sdk.Status) field {
	return field{key, func(n *yaml.Node) {
		for status := sdk.Alive; status <= sdk.Draining; status++ {
			named := kindOf(n) == text && strings.EqualFold(n.Value, status.Name())
			if named || inJSON(n) == strconv.Itoa(int(status)) {
				*into = status
				return
			}
		}
		r.invalidf(n, "%s must be one of alive, tombstone, unhealthy, unknown, draining and is %q", key, n.Value)
	}}
}

func (r *reader) labels(key string, into *map[string]string) field {
	return field{key, func(n *yaml.Node) {
		if kindOf(n) != mapping {
			r.invalidf(n, "%s must be a mapping of texts and is %s", key, kindOf(n))
			return
		}
		*into = map[string]string{}
		for name, value := range members(n) {
			var label string
			r.text(key+"."+name.Value, &label).read(value)
			(*into)[name.Value] = label
		}
	}}
}

func (r *reader) ports(key string, into *[]sdk.Port) field {
	return field{key, func(n *yaml.Node) {
		if kindOf(n) != list {
			r.invalidf(n, "%s must be a list of ports and is %s", key, kindOf(n))
			return
		}
		for _, item := range n.Content {
			*into = append(*into, r.port(item))
		}
	}}
}
