package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// An injectionCase is a value that tries to add more than a value to a document, a log or a terminal.
type injectionCase struct{ name, value string }

func (t injectionCase) json() json.RawMessage {
	if strings.Contains(t.value, "\xff") { // an encoder would replace it
		return json.RawMessage(`"` + t.value + `"`)
	}
	content, err := json.Marshal(t.value)
	if err != nil {
		panic(err)
	}
	return content
}

var injectionCases = []injectionCase{
	{"a line more", "x\n  server evil 6.6.6.6:666"},
	{"a section more", "x\nfrontend evil\n  bind :666"},
	{"carriage return", "x\r  server evil 6.6.6.6:666"},
	{"form feed and vertical tab", "x\f\v  server evil 6.6.6.6:666"},
	{"next line", "x\u0085server evil"},
	{"line separator", "x\u2028server evil"},
	{"paragraph separator", "x\u2029server evil"},
	{"NUL", "x\x00y"},
	{"tab", "x\tcheck-send-proxy"},
	{"a word more", "x check-send-proxy"},
	{"no-break space", "x\u00a0check-send-proxy"},
	{"ideographic space", "x\u3000check-send-proxy"},
	{"double quote", `x"`},
	{"single quote", "x'"},
	{"typographic quotes", "\u201cx\u201d"},
	{"comment", "x#"},
	{"backslash at the end", `x\`},
	{"escaped space", `x\ check`},
	{"HAProxy's environment", "x%[env(HOME)]"},
	{"environment", "x${HOME}"},
	{"environment, bare", "x$HOME"},
	{"log format", "%{+Q}o%t"},
	{"anonymous ACL", "{src"},
	{"argument list", "a,b(c"},
	{"runtime command", "x;shutdown sessions server web-8000/good"},
	{"shell, dollar", "$(touch x)"},
	{"shell, backtick", "`id`"},
	{"shell, pipe", "x|id&&id>x"},
	{"template", "{{.User}}"},
	{"template, call", "{{include}}"},
	{"path upwards", "../../etc/passwd"},
	{"path upwards in the middle", "x/../../etc/passwd"},
	{"absolute path", "/etc/passwd"},
	{"unix socket", "unix@/run/x"},
	{"file descriptor", "fd@3"},
	{"address with port", "6.6.6.6:666"},
	{"address of nobody", "0.0.0.0"},
	{"address with zone", "fe80::1%eth0"},
	{"terminal colour", "x\x1b[31m"},
	{"terminal, eight bits", "x\u009b2J"},
	{"bell and backspace", "x\a\b"},
	{"delete", "x\x7f"},
	{"right to left", "x\u202egood"},
	{"zero width", "we\u200bb"},
	{"byte order mark", "\ufeffweb"},
	{"combining accent", "we\u0301b"},
	{"lookalike", "w\u0435b"},
	{"tag character", "x\U000e0041"},
	{"no UTF-8", "x\xff\xfe"},
	{"forged log line", "x\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged"},
	{"forged log field", `x" level=ERROR msg="forged`},
	{"minus one", "-1"},
	{"zero", "0"},
	{"seventy thousand", "70000"},
	{"an option", "--help"},
	{"a keyword", "backend"},
	{"empty", ""},
	{"256 bytes", strings.Repeat("x", 256)},
	{"one MB", strings.Repeat("x", 1<<20)},
}

// wrongTypes are JSON values of the wrong type, and numbers out of range.
var wrongTypes = map[string]string{
	"number -1": "-1", "number 0": "0", "number 70000": "70000", "number 2^63": "9223372036854775808",
	"number -2^63": "-9223372036854775808", "number 1.5": "1.5", "number 1e400": "1e400", "null": "null", "true": "true",
	"list": "[1]", "object": `{"a":1}`, "text": `"80\n  server evil"`,
}

type object = map[string]any

// An injectionPush is a push with valid instances and one attacked instance.
type injectionPush struct {
	instance, event        object
	state, server          object
	serverKey, instanceKey string
	byService              string // the service of the attacked instance, for a snapshot by service instead of a push
}

func newInjectionPush() *injectionPush {
	return &injectionPush{
		instance:  instanceObject("evil", "web", "host-evil", 8000),
		event:     object{"Service": instanceObject("evil", "web", "host-evil", 8000), "PreviousStatus": 3, "Time": epoch},
		state:     object{"ClusterName": "demo", "Hostname": "host-good", "LastChanged": epoch},
		server:    object{"Name": "host-evil", "LastUpdated": epoch, "LastChanged": epoch},
		serverKey: "host-evil", instanceKey: "evil",
	}
}

const epoch = "2026-11-22T07:44:54Z"

func instanceObject(id, name, host string, servicePort int) object {
	return object{
		"ID": id, "Name": name, "Image": name + ":1", "Hostname": host, "Created": epoch, "Updated": epoch,
		"Ports":     []object{{"Type": "tcp", "Port": 31000, "ServicePort": servicePort, "IP": "10.0.0.1"}},
		"ProxyMode": "http", "Status": 0, "Labels": object{"zone": "a"},
	}
}

func healthyInstances() object {
	return object{
		"good": instanceObject("good", "web", "host-good", 8000), "fine": instanceObject("fine", "web", "host-good", 8000),
		"chat": instanceObject("chat", "chat", "host-good", 9000), "dns": instanceObject("dns", "zone.dns", "host-good", 53),
	}
}

// body returns the push, without the attacked instance if p is nil.
func (p *injectionPush) body(t *testing.T) []byte {
	servers := object{"host-good": object{"Name": "host-good", "Services": healthyInstances()}}
	event := object{"State": object{"Servers": servers, "ClusterName": "demo"}}
	if p != nil {
		p.server["Services"] = object{p.instanceKey: p.instance}
		servers[p.serverKey] = p.server
		p.state["Servers"] = servers
		event = object{"State": p.state, "ChangeEvent": p.event}
	}
	return encodeObject(t, event)
}

// byServiceBody returns the same as an object by service.
func (p *injectionPush) byServiceBody(t *testing.T) []byte {
	all := map[string][]any{p.byService: {p.instance}}
	for _, one := range healthyInstances() {
		name := one.(object)["Name"].(string)
		all[name] = append(all[name], one)
	}
	return encodeObject(t, all)
}

func encodeObject(t *testing.T, v any) []byte {
	t.Helper()
	// The encoder would reject values that are not valid JSON, so they are inserted afterwards.
	var raw []json.RawMessage
	content, err := json.Marshal(extractRaw(v, &raw))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for n, value := range raw {
		text = strings.Replace(text, fmt.Sprintf(`"\u003craw %d\u003e"`, n), string(value), 1)
	}
	return []byte(text)
}

func extractRaw(v any, raw *[]json.RawMessage) any {
	switch v := v.(type) {
	case json.RawMessage:
		*raw = append(*raw, v)
		return fmt.Sprintf("<raw %d>", len(*raw)-1)
	case object:
		all := object{}
		for key, value := range v {
			all[key] = extractRaw(value, raw)
		}
		return all
	case []object:
		var all []any
		for _, value := range v {
			all = append(all, extractRaw(value, raw))
		}
		return all
	}
	return v
}

// An injectionField is a field to attack.
type injectionField struct {
	name   string
	set    func(p *injectionPush, value json.RawMessage)
	setKey func(p *injectionPush, key string) // for keys, which can only be strings
}

func injectionFields() []injectionField {
	var all []injectionField
	in := func(prefix string, of func(*injectionPush) object, fields ...string) {
		for _, field := range fields {
			set := func(p *injectionPush, value json.RawMessage) { of(p)[field] = value }
			all = append(all, injectionField{name: prefix + field, set: set})
		}
	}
	key := func(name string, put func(p *injectionPush, key string)) {
		all = append(all, injectionField{name: name, setKey: put})
	}
	attacked := func(p *injectionPush) object { return p.instance }
	port := func(p *injectionPush) object { return p.instance["Ports"].([]object)[0] }
	all = append(all, injectionField{name: "Name", set: func(p *injectionPush, value json.RawMessage) {
		p.instance["Name"] = value
		port(p)["ServicePort"] = 9999 // so that no port of another service is affected
	}})
	in("", attacked, "ID", "Image", "Hostname", "ProxyMode", "Status", "Created", "Updated", "Ports", "Labels")
	in("Ports[].", port, "Type", "Port", "ServicePort", "IP")
	key("Labels, a key", func(p *injectionPush, key string) { p.instance["Labels"] = object{key: "a"} })
	in("Labels, ", func(p *injectionPush) object { return p.instance["Labels"].(object) }, "zone")
	in("State.", func(p *injectionPush) object { return p.state }, "ClusterName", "Hostname", "LastChanged")
	key("State.Servers, a key", func(p *injectionPush, key string) { p.serverKey = key })
	in("State.Servers[].", func(p *injectionPush) object { return p.server }, "Name", "LastUpdated")
	key("State.Servers[].Services, a key", func(p *injectionPush, key string) { p.instanceKey = key })
	key("by service, a key", func(p *injectionPush, key string) { p.byService = "by " + key })
	in("ChangeEvent.", func(p *injectionPush) object { return p.event }, "Service", "PreviousStatus", "Time")
	in("ChangeEvent.Service.", func(p *injectionPush) object { return p.event["Service"].(object) },
		"Name", "ID", "Image", "Hostname", "ProxyMode", "Status")
	return all
}

// attempts returns a push for each value of the field, by the name of the value.
func (f injectionField) attempts() map[string]*injectionPush {
	all := map[string]*injectionPush{}
	for _, c := range injectionCases {
		p := newInjectionPush()
		switch {
		case f.set != nil:
			f.set(p, c.json())
		case strings.Contains(c.value, "\xff"):
			f.setKey(p, strings.ToValidUTF8(c.value, "\ufffd")) // as a decoder does
		default:
			f.setKey(p, c.value)
		}
		all[c.name] = p
	}
	for name, value := range wrongTypes {
		if f.set != nil {
			p := newInjectionPush()
			f.set(p, json.RawMessage(value))
			all[name] = p
		}
	}
	return all
}

// ordinary returns the push with a valid value.
func (f injectionField) ordinary() *injectionPush {
	p := newInjectionPush()
	switch f.name {
	case "Name":
		f.set(p, json.RawMessage(`"usual"`))
	case "by service, a key":
		f.setKey(p, "web")
	}
	return p
}
