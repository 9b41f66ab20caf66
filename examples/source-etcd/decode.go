package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// decode returns the instance of a key and its value. The key, without the prefix, is NAME/HOST/ID; the value is JSON with
// the fields of [sdk.Instance] in any case. The fields in the key are optional, and so are the mode (http), the status
// (alive) and a port's type (tcp).
//
// Permission to write to etcd must not be permission to write the proxy's configuration: values that could end a line or a
// word of it are faults.
func decode(key string, value []byte) (sdk.Instance, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return sdk.Instance{}, errors.New("the key is not NAME/HOST/ID after the prefix")
	}
	var i sdk.Instance
	if err := json.Unmarshal(value, &i); err != nil {
		return sdk.Instance{}, fmt.Errorf("the value is not an instance in JSON: %w", err)
	}
	var faults []error
	for at, field := range []*string{&i.Name, &i.Hostname, &i.ID} {
		if *field = cmp.Or(*field, parts[at]); *field != parts[at] {
			faults = append(faults, fmt.Errorf("the value has %q and the key has %q", *field, parts[at]))
		}
	}
	i.ProxyMode = cmp.Or(i.ProxyMode, "http")
	faults = append(faults, checkFields(i)...)
	if len(i.Ports) == 0 {
		faults = append(faults, errors.New("the instance has no ports"))
	}
	for at := range i.Ports {
		i.Ports[at].Type = cmp.Or(i.Ports[at].Type, "tcp")
		if err := checkPort(i.Ports[at]); err != nil {
			faults = append(faults, fmt.Errorf("port %d of the list: %w", at+1, err))
		}
	}
	if len(faults) > 0 {
		return sdk.Instance{}, errors.Join(faults...)
	}
	return i, nil
}

func checkFields(i sdk.Instance) (faults []error) {
	for _, word := range []string{i.Name, i.Hostname, i.ID, i.Image} {
		if strings.ContainsFunc(word, unsafe) {
			faults = append(faults, fmt.Errorf("%q has an invalid character", word))
		}
	}
	for label, text := range i.Labels {
		if strings.ContainsFunc(label+text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			faults = append(faults, fmt.Errorf("the label %q has a control character", label))
		}
	}
	if !slices.Contains([]string{"http", "tcp", "ws"}, i.ProxyMode) {
		faults = append(faults, fmt.Errorf("the mode is %q: it must be http, tcp or ws", i.ProxyMode))
	}
	if i.Status < sdk.Alive || i.Status > sdk.Draining {
		faults = append(faults, fmt.Errorf("the status is %d: it must be 0 to 4", i.Status))
	}
	return faults
}

// unsafe reports whether r has a meaning in the configuration of a proxy, or is unusual in names.
func unsafe(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'`\\;{}#$", r) }

func checkPort(p sdk.Port) error {
	const highest = 1<<16 - 1
	var faults []error
	if p.Port < 1 || p.Port > highest {
		faults = append(faults, fmt.Errorf("%d is not a port", p.Port))
	}
	if p.ServicePort < 0 || p.ServicePort > highest {
		faults = append(faults, fmt.Errorf("%d is not a service port", p.ServicePort))
	}
	if p.Type != "tcp" && p.Type != "udp" {
		faults = append(faults, fmt.Errorf("the type is %q: it must be tcp or udp", p.Type))
	}
	if addr, err := netip.ParseAddr(p.IP); p.IP != "" && (err != nil || addr.Zone() != "") { // a zone can be any text
		faults = append(faults, fmt.Errorf("%q is not an IP address", p.IP))
	}
	return errors.Join(faults...)
}
