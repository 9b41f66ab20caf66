package engine

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	maxText   = 255 // bytes of any string
	maxHost   = 253 // bytes of a host name, as in the DNS
	maxLabel  = 63  // bytes between its dots
	maxPorts  = 256 // of an instance
	maxLabels = 64  // of an instance
	maxPort   = 65535

	maxProtocol = 16 // bytes
	maxShown    = 40 // bytes of an invalid value that a message shows
)

// instanceFault returns the first fault of inst, or "". It validates what an instance cannot be rendered without; cleaned
// removes the rest.
func instanceFault(inst *sdk.Instance) string {
	return cmp.Or(
		invalidFault(inst.Invalid), nameFault("Name", inst.Name), emptyFault("Hostname", inst.Hostname),
		hostFault("Hostname", inst.Hostname), nameFault("ID", inst.ID), modeFault(inst.ProxyMode), portsFault(inst.Ports),
	)
}

func invalidFault(reason string) string {
	if reason == "" || len(reason) <= maxText && OneLine(reason) == reason {
		return reason
	}
	return quoted(reason)
}

// cleaned returns inst without invalid values that it can be rendered without, and the faults of those. It normalizes the
// types of ports: an empty type is tcp. unchanged reports whether the result equals inst.
func cleaned(inst sdk.Instance) (clean sdk.Instance, dropped []string, unchanged bool) {
	created, updated := inst.Created, inst.Updated
	if reason := textFault("Image", inst.Image); reason != "" {
		inst.Image, dropped = "", append(dropped, reason)
	}
	inst.Created, inst.Updated = encodable(inst.Created), encodable(inst.Updated)
	labels, reasons := cleanLabels(inst.Labels)
	ports, portsUnchanged := cleanPorts(inst.Ports)
	inst.Labels, inst.Ports = labels, ports
	dropped = append(dropped, reasons...)
	unchanged = len(dropped) == 0 && portsUnchanged &&
		inst.Created == created && inst.Updated == updated //nolint:staticcheck // the time zones must be equal too
	return inst, dropped, unchanged
}

func cleanPorts(ports []sdk.Port) (clean []sdk.Port, unchanged bool) {
	copied := false
	for n := range ports {
		normalized := cmp.Or(strings.ToLower(ports[n].Type), "tcp")
		if normalized == ports[n].Type {
			continue
		}
		if !copied {
			ports, copied = slices.Clone(ports), true // the snapshot must not be modified
		}
		ports[n].Type = normalized
	}
	return ports, !copied
}

// cleanLabels returns the valid labels, at most the first maxLabels by key, and the faults of the others.
func cleanLabels(labels map[string]string) (clean map[string]string, dropped []string) {
	for key, value := range labels {
		if reason := labelFault(key, value); reason != "" {
			dropped = append(dropped, reason)
		}
	}
	if len(dropped) == 0 && len(labels) <= maxLabels {
		return labels, nil
	}
	slices.Sort(dropped)
	dropped = slices.Compact(dropped)
	clean = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if labelFault(key, labels[key]) != "" {
			continue
		}
		if len(clean) == maxLabels {
			dropped = append(dropped, fmt.Sprintf("Labels has %d entries; the first %d are used", len(labels), maxLabels))
			break
		}
		clean[key] = labels[key]
	}
	if len(clean) == 0 {
		clean = nil
	}
	return clean, dropped
}

func modeFault(mode string) string {
	switch mode {
	case "http", "tcp", "ws", "": // older Sidecars do not send it
		return ""
	}
	return "ProxyMode " + quoted(mode) + " is not http, tcp or ws"
}

// encodable returns t if JSON can represent it. JSON needs a year with four digits and a zone offset of less than a day.
// encodable returns t in UTC if only the zone is wrong, and otherwise the zero time. The bounds leave room for any zone.
func encodable(t time.Time) time.Time {
	if seconds := t.Unix(); seconds < -62_135_596_800 || seconds > 253_402_200_000 {
		return time.Time{}
	}
	const day = 24 * 60 * 60
	if _, offset := t.Zone(); offset <= -day || offset >= day {
		return t.UTC()
	}
	return t
}

func portsFault(ports []sdk.Port) string {
	if len(ports) > maxPorts {
		return fmt.Sprintf("Ports has %d entries; at most %d are accepted", len(ports), maxPorts)
	}
	for i := range ports {
		if reason := portFault(&ports[i]); reason != "" {
			return fmt.Sprintf("Ports[%d].%s", i, reason)
		}
	}
	return ""
}

func portFault(p *sdk.Port) string {
	switch {
	case len(p.Type) > maxProtocol || !protocolBytes.containsAll(p.Type):
		return "Type " + quoted(p.Type) + " is not a protocol"
	case p.ServicePort < 0 || p.ServicePort > maxPort:
		return fmt.Sprintf("ServicePort %d is not a port", p.ServicePort)
	case p.Port < 0 || p.Port > maxPort || p.Port == 0 && p.ServicePort != 0:
		return fmt.Sprintf("Port %d is not a port", p.Port)
	}
	return hostFault("IP", p.IP)
}

func labelFault(key, value string) string {
	reason := cmp.Or(emptyFault("a key of Labels", key), stringFault("a key of Labels", key, &labelBytes))
	if reason != "" {
		return reason
	}
	if reason = stringFault("", value, &labelBytes); reason != "" {
		return "the label " + key + reason
	}
	return ""
}

func emptyFault(field, s string) string {
	if s == "" {
		return field + " is missing"
	}
	return ""
}

// nameFault is textFault for a string that must not be empty.
func nameFault(field, s string) string { return cmp.Or(emptyFault(field, s), textFault(field, s)) }

func textFault(field, s string) string { return stringFault(field, s, &textBytes) }

func stringFault(field, s string, allowed *byteSet) string {
	switch {
	case len(s) > maxText:
		return fmt.Sprintf("%s has %d bytes; at most %d are accepted", field, len(s), maxText)
	case !allowed.containsAll(s):
		return field + " contains " + allowed.firstOther(s)
	case strings.Contains(s, ".."): // it could lead out of a directory
		return field + " contains two consecutive dots"
	}
	return ""
}

// hostFault returns the fault of s, which must be empty, an address or a host name, or "".
func hostFault(field, s string) string {
	switch {
	case len(s) > maxHost:
		return fmt.Sprintf("%s has %d bytes; a host name has at most %d", field, len(s), maxHost)
	case !hostBytes.containsAll(s):
		return field + " contains " + hostBytes.firstOther(s)
	case strings.Contains(s, ":"), isNumeric(s):
		return addressFault(field, s)
	case s != "" && !hasValidLabels(s):
		return field + " " + quoted(s) + " is not a host name"
	}
	return ""
}

func addressFault(field, s string) string {
	address, err := netip.ParseAddr(s)
	switch {
	case err != nil || address.Zone() != "":
		return field + " " + quoted(s) + " is not an address"
	case address.Unmap().IsUnspecified(): // HAProxy would connect to itself
		return field + " " + quoted(s) + " is the unspecified address"
	}
	return ""
}

// isNumeric reports whether a resolver would interpret host as numbers and make an address of them: 0 is 0.0.0.0. The name of a
// container may consist of digits, if the number is larger than any address.
func isNumeric(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		hexadecimal := strings.HasPrefix(label, "0x") || strings.HasPrefix(label, "0X")
		if !hexadecimal && !digitBytes.containsAll(label) {
			return false
		}
	}
	const longest = len("4294967295")
	return host != "" && (len(host) <= longest || host[0] == '0' || strings.Contains(host, "."))
}

// hasValidLabels reports whether each label of a host name is valid. The name may end with the dot of the root.
func hasValidLabels(host string) bool {
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// A byteSet is the set of bytes that a string may have.
type byteSet [256]bool

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var (
	protocolBytes = newByteSet(lower + digits)
	digitBytes    = newByteSet(digits)
	hostBytes     = newByteSet(lower + upper + digits + "-_." + ":")
	textBytes     = newByteSet(lower + upper + digits + "._:/@+~=-")
	labelBytes    = newByteSet(lower + upper + digits + "._:/@+~=-" + "!&()*,<>?[]^|")
)

func newByteSet(bytes string) byteSet {
	var set byteSet
	for i := range len(bytes) {
		set[bytes[i]] = true
	}
	return set
}

func (set *byteSet) containsAll(s string) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// firstOther describes the first character of s that is not in the set.
func (set *byteSet) firstOther(s string) string {
	for i, r := range s {
		if r < utf8.RuneSelf && set[s[i]] {
			continue
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			return "a byte that is not UTF-8"
		case strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", r):
			return "a line break"
		case unicode.IsSpace(r):
			return "white space"
		case unicode.IsControl(r):
			return "a control character"
		case !unicode.IsPrint(r):
			return "an invisible character"
		}
		return "the character " + strconv.QuoteRuneToASCII(r)
	}
	return "no other character"
}

// shown returns s unchanged if it is valid text, and otherwise quoted and truncated.
func shown(s string) string {
	if len(s) <= maxText && textBytes.containsAll(s) {
		return s
	}
	return quoted(s)
}

func quoted(s string) string {
	if len(s) > maxShown {
		return strconv.QuoteToASCII(s[:maxShown]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
