package file

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// text accepts numbers too: an id or the tag of an image often looks like one.
func (r *reader) text(key string, into *string) field {
	return field{key, func(n *node) {
		switch n.kind {
		case text:
			*into = n.value
		case number:
			*into = n.raw
		default:
			r.invalidf(n, "%s: %v where a text belongs", key, n.kind)
		}
	}}
}

func (r *reader) number(key string, into *int64) field {
	return field{key, func(n *node) {
		value, err := strconv.ParseInt(n.value, 10, 64)
		if err != nil || n.kind != number && n.kind != text {
			r.invalidf(n, "%s: %v where a whole number belongs", key, n.kind)
			return
		}
		*into = value
	}}
}

func (r *reader) time(key string, into *time.Time) field {
	return field{key, func(n *node) {
		value, err := time.Parse(time.RFC3339Nano, n.value)
		if err != nil {
			r.invalidf(n, "%s: %q is not a time as RFC 3339 wants it, 2006-01-02T15:04:05Z", key, n.value)
			return
		}
		*into = value
	}}
}

func (r *reader) oneOf(key string, into *string, values ...string) field {
	return field{key, func(n *node) {
		value := strings.ToLower(n.value)
		if n.kind != text || !slices.Contains(values, value) {
			r.invalidf(n, "%s: %q is none of %s", key, n.value, strings.Join(values, ", "))
			return
		}
		*into = value
	}}
}

func (r *reader) status(key string, into *sdk.Status) field {
	return field{key, func(n *node) {
		for status := sdk.Alive; status <= sdk.Draining; status++ {
			named := n.kind == text && strings.EqualFold(n.value, status.Name())
			if named || n.value == strconv.Itoa(int(status)) {
				*into = status
				return
			}
		}
		r.invalidf(n, "%s: %q is none of alive, tombstone, unhealthy, unknown, draining", key, n.value)
	}}
}

func (r *reader) labels(key string, into *map[string]string) field {
	return field{key, func(n *node) {
		if n.kind != mapping {
			r.invalidf(n, "%s: %v where a mapping of texts belongs", key, n.kind)
			return
		}
		*into = map[string]string{}
		for _, m := range n.members {
			var value string
			r.text(key+"."+m.key, &value).read(m.value)
			(*into)[m.key] = value
		}
	}}
}

func (r *reader) ports(key string, into *[]sdk.Port) field {
	return field{key, func(n *node) {
		if n.kind != list {
			r.invalidf(n, "%s: %v where a list of ports belongs", key, n.kind)
			return
		}
		for _, item := range n.items {
			*into = append(*into, r.port(item))
		}
	}}
}
