package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  sdk.Instance
	}{
		"no more than it must": {
			`{"ports":[{"port":80}]}`,
			sdk.Instance{
				Name: "web", Hostname: "node-1", ID: "a", ProxyMode: "http", Ports: []sdk.Port{{Type: "tcp", Port: 80}},
			},
		},
		"everything, in any case": {
			`{"id":"a","NAME":"web","Image":"registry:5000/web:1.4","created":"2026-01-02T03:04:05Z","hostName":"node-1",
			  "Ports":[{"Type":"udp","port":53,"SERVICEPORT":5353,"ip":"::1"}],"proxyMODE":"tcp","status":4,
			  "labels":{"zone":"a b"},"somebody":"elses"}`,
			sdk.Instance{
				Name: "web", Hostname: "node-1", ID: "a", ProxyMode: "tcp", Image: "registry:5000/web:1.4",
				Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Status: sdk.Draining,
				Ports:  []sdk.Port{{Type: "udp", Port: 53, ServicePort: 5353, IP: "::1"}},
				Labels: map[string]string{"zone": "a b"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode("web/node-1/a", []byte(test.value))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecode_Invalid(t *testing.T) {
	const good = `{"ports":[{"port":80}]}`
	for _, test := range []struct{ key, value, want string }{
		{"web/one", good, "NAME/HOST/ID"},
		{"web/one/a/b", good, "NAME/HOST/ID"},
		{"web//a", good, "NAME/HOST/ID"},
		{"", good, "NAME/HOST/ID"},
		{"web/one/a", "", "not an instance in JSON"},
		{"web/one/a", "[]", "not an instance in JSON"},
		{"web/one/a", good + "x", "not an instance in JSON"},
		{"web/one/a", `{"status":"alive","ports":[{"port":80}]}`, "not an instance in JSON"},
		{"web/one/a", "null", "no ports"},
		{"web/one/a", "{}", "no ports"},
		{"web/one/a", `{"name":"chat","ports":[{"port":80}]}`, `"chat" and the key has "web"`},
		{"web/one/a", `{"hostname":"two","ports":[{"port":80}]}`, `"two" and the key has "one"`},
		{"web/one/a", `{"id":"b","ports":[{"port":80}]}`, `"b" and the key has "a"`},
		{"web/one/a", `{"proxymode":"h2","ports":[{"port":80}]}`, "the mode"},
		{"web/one/a", `{"status":5,"ports":[{"port":80}]}`, "the status is 5"},
		{"web/one/a", `{"status":-1,"ports":[{"port":80}]}`, "the status is -1"},
		{"web/one/a", `{"ports":[{"port":0}]}`, "0 is not a port"},
		{"web/one/a", `{"ports":[{"port":80},{"port":65536}]}`, "port 2 of the list: 65536"},
		{"web/one/a", `{"ports":[{"port":80,"serviceport":-1}]}`, "-1 is not a service port"},
		{"web/one/a", `{"ports":[{"port":80,"type":"sctp"}]}`, `"sctp"`},
		{"web/one/a", `{"ports":[{"port":80,"ip":"node-1"}]}`, `"node-1" is not an IP address`},
		{"web/one/a", `{"ports":[{"port":80,"ip":"::1%a;b"}]}`, "is not an IP address"},
		{"web/o ne/a", good, `"o ne"`},
		{"web/one/a\n", good, `"a\n"`},
		{"we;b/one/a", good, `"we;b"`},
		{"web/one/{", good, `"{"`},
		{"web/one/a", `{"image":"x\ny","ports":[{"port":80}]}`, `"x\ny"`},
		{"web/one/a", `{"labels":{"k":"x\ny"},"ports":[{"port":80}]}`, `label "k"`},
	} {
		_, err := decode(test.key, []byte(test.value))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q = %s: got %v, want %s", test.key, test.value, err, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("web/one/a", []byte(`{"ports":[{"port":80}]}`))
	f.Add("web/one/a", []byte(`{"Name":"web","ports":[{"type":"udp","port":1,"ip":"::1"}],"labels":{"a":"b"},"Status":4}`))
	f.Add("web/one/a", []byte(`{"ports":[{"port":80}],"labels":{}}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		got, err := decode(key, value)
		if err != nil {
			return
		}
		if strings.Join([]string{got.Name, got.Hostname, got.ID}, "/") != key {
			t.Errorf("key %q became %+v", key, got)
		}
		told, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		words := got.Name + got.Hostname + got.ID + got.Image + got.ProxyMode + got.Ports[0].Type + got.Ports[0].IP
		if strings.ContainsAny(words, " \t\r\n;{}\"'#") {
			t.Errorf("got %s", told)
		}
		again, err := decode(key, told)
		if diff := cmp.Diff(got, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	})
}
