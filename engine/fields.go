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
	maxHost   = 253 // bytes of a host name, as the DNS has it
	maxLabel  = 63  // bytes between its dots
	maxPorts  = 256 // of an instance
	maxLabels = 64  // of an instance
	maxPort   = 65535

	maxProtocol = 16 // bytes
	maxShown    = 40 // bytes that are shown of what is wrong
)

// instanceFault returns the first thing that is wrong with inst, and "" if all is well. It looks at what an instance cannot be
// rendered without; see cleaned for the rest.
func instanceFault(inst *sdk.Instance) string {
	return cmp.Or(
		invalidFault(inst.Invalid), nameFault("Name", inst.Name), absence("Hostname", inst.Hostname),
		hostFault("Hostname", inst.Hostname), nameFault("ID", inst.ID), modeFault(inst.ProxyMode), portsFault(inst.Ports),
	)
}

func invalidFault(reason string) string {
	if reason == "" || len(reason) <= maxText && OneLine(reason) == reason {
		return reason
	}
	return quoted(reason)
}

// cleaned returns inst without what it may lack and what is no good, and the reasons. Types of ports are written in one way: none
// is tcp. It reports whether all is as it was.
func cleaned(inst sdk.Instance) (clean sdk.Instance, dropped []string, asIs bool) {
	created, updated := inst.Created, inst.Updated
	if reason := textFault("Image", inst.Image); reason != "" {
		inst.Image, dropped = "", append(dropped, reason)
	}
	inst.Created, inst.Updated = writable(inst.Created), writable(inst.Updated)
	labels, reasons := cleanLabels(inst.Labels)
	ports, portsAsIs := cleanPorts(inst.Ports)
	inst.Labels, inst.Ports = labels, ports
	dropped = append(dropped, reasons...)
	asIs = len(dropped) == 0 && portsAsIs &&
		inst.Created == created && inst.Updated == updated //nolint:staticcheck // the zone too
	return inst, dropped, asIs
}

func cleanPorts(ports []sdk.Port) (clean []sdk.Port, asIs bool) {
	copied := false
	for n := range ports {
		usual := cmp.Or(strings.ToLower(ports[n].Type), "tcp")
		if usual == ports[n].Type {
			continue
		}
		if !copied {
			ports, copied = slices.Clone(ports), true // others have those that came
		}
		ports[n].Type = usual
	}
	return ports, !copied
}

// cleanLabels returns the labels that are good, the first of them by key where there are too many.
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
			dropped = append(dropped, fmt.Sprintf("Labels has %d of them; the first %d are taken", len(labels), maxLabels))
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
	case "http", "tcp", "ws", "": // older Sidecars say nothing
		return ""
	}
	return "ProxyMode " + quoted(mode) + " is none of http, tcp and ws"
}

// writable returns t so that it can be written as JSON, where years have four digits and zones less than a day: in UTC if its
// zone is none, and the zero time where there is no other. The bounds leave room for any zone.
func writable(t time.Time) time.Time {
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
		return fmt.Sprintf("Ports has %d of them; at most %d are taken", len(ports), maxPorts)
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
	case len(p.Type) > maxProtocol || !protocolBytes.spell(p.Type):
		return "Type " + quoted(p.Type) + " is no protocol"
	case p.ServicePort < 0 || p.ServicePort > maxPort:
		return fmt.Sprintf("ServicePort %d is no port", p.ServicePort)
	case p.Port < 0 || p.Port > maxPort || p.Port == 0 && p.ServicePort != 0:
		return fmt.Sprintf("Port %d is no port", p.Port)
	}
	return hostFault("IP", p.IP)
}

func labelFault(key, value string) string {
	reason := cmp.Or(absence("a key of Labels", key), stringFault("a key of Labels", key, &labelBytes))
	if reason != "" {
		return reason
	}
	if reason = stringFault("", value, &labelBytes); reason != "" {
		return "the label " + key + reason
	}
	return ""
}

func absence(field, s string) string {
	if s == "" {
		return field + " is missing"
	}
	return ""
}

// nameFault is textFault for what may not be empty.
func nameFault(field, s string) string { return cmp.Or(absence(field, s), textFault(field, s)) }

func textFault(field, s string) string { return stringFault(field, s, &textBytes) }

func stringFault(field, s string, from *alphabet) string {
	switch {
	case len(s) > maxText:
		return fmt.Sprintf("%s is %d bytes long; at most %d are taken", field, len(s), maxText)
	case !from.spell(s):
		return field + " has " + from.stranger(s) + " in it"
	case strings.Contains(s, ".."): // on its way up from a folder
		return field + " has two dots in a row in it"
	}
	return ""
}

// hostFault returns what is wrong with what has to be empty, an address or a host name.
func hostFault(field, s string) string {
	switch {
	case len(s) > maxHost:
		return fmt.Sprintf("%s is %d bytes long; a host name has at most %d", field, len(s), maxHost)
	case !hostBytes.spell(s):
		return field + " has " + hostBytes.stranger(s) + " in it"
	case strings.Contains(s, ":"), numeric(s):
		return addressFault(field, s)
	case s != "" && !wellDotted(s):
		return field + " " + quoted(s) + " is no host name"
	}
	return ""
}

func addressFault(field, s string) string {
	address, err := netip.ParseAddr(s)
	switch {
	case err != nil || address.Zone() != "":
		return field + " " + quoted(s) + " is no address"
	case address.Unmap().IsUnspecified(): // HAProxy would connect to itself
		return field + " " + quoted(s) + " is nobody's address"
	}
	return ""
}

// numeric reports whether a resolver would take a host for numbers, of which it makes an address in ways of its own: 0 is
// 0.0.0.0. A container's name may be a number too, one that is larger than any address.
func numeric(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		hexadecimal := strings.HasPrefix(label, "0x") || strings.HasPrefix(label, "0X")
		if !hexadecimal && !digitBytes.spell(label) {
			return false
		}
	}
	const longest = len("4294967295")
	return host != "" && (len(host) <= longest || host[0] == '0' || strings.Contains(host, "."))
}

// wellDotted reports whether each label of a host name may be one. The dot at the end is that of the root.
func wellDotted(host string) bool {
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// An alphabet is the bytes that a string may have.
type alphabet [256]bool

const (
	digits  = "0123456789"
	small   = "abcdefghijklmnopqrstuvwxyz"
	capital = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var (
	protocolBytes = alphabetOf(small + digits)
	digitBytes    = alphabetOf(digits)
	hostBytes     = alphabetOf(small + capital + digits + "-_." + ":")
	textBytes     = alphabetOf(small + capital + digits + "._:/@+~=-")
	labelBytes    = alphabetOf(small + capital + digits + "._:/@+~=-" + "!&()*,<>?[]^|")
)

func alphabetOf(letters string) alphabet {
	var a alphabet
	for i := range len(letters) {
		a[letters[i]] = true
	}
	return a
}

func (a *alphabet) spell(s string) bool {
	for i := range len(s) {
		if !a[s[i]] {
			return false
		}
	}
	return true
}

// stranger names the first character of s that the alphabet does not have.
func (a *alphabet) stranger(s string) string {
	for i, r := range s {
		if r < utf8.RuneSelf && a[s[i]] {
			continue
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			return "a byte that is no UTF-8"
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
	return "nothing strange"
}

// shown returns s as it is where it can be shown anywhere, and otherwise quoted and cut.
func shown(s string) string {
	if len(s) <= maxText && textBytes.spell(s) {
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
