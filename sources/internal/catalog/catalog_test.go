package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../sidecar/testdata/recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func updates(t testing.TB) [][]byte {
	t.Helper()
	var bodies [][]byte
	for n := range 31 {
		bodies = append(bodies, recorded(t, fmt.Sprintf("updates/post-%03d.json", n+1)))
	}
	return bodies
}

func TestDecodeRecordedEncodings(t *testing.T) {
	state, err := catalog.Decode(recorded(t, "state-1-node3-joining.json"))
	if err != nil {
		t.Fatal(err)
	}
	services, err := catalog.Decode(recorded(t, "services.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !snapshots.Equal(state, services) {
		t.Errorf("state and services of one moment differ:\n%s", cmp.Diff(state, services))
	}
	if got := summary(state); got != "chat:3 dns:3 redis:3 web:3" {
		t.Errorf("state has %s", got)
	}
	web := state.Services[3].Instances[2]
	want := sdk.Instance{
		ID: web.ID, Name: "web", Image: "registry.local/web:1.4.3", Hostname: "node-3",
		Ports: []sdk.Port{
			{Type: "tcp", Port: 31380, ServicePort: 8080, IP: "10.213.0.3"},
			{Type: "tcp", Port: 31343, ServicePort: 8443, IP: "10.213.0.3"},
		},
		ProxyMode: "http", Status: sdk.Unhealthy,
	}
	if diff := cmp.Diff(want, web, cmpopts.IgnoreTypes(time.Time{})); diff != "" {
		t.Errorf("web on node-3 (-want +got):\n%s", diff)
	}
	if state.Cluster != "demo" || state.Changed.IsZero() || web.Created.IsZero() || web.Updated.IsZero() {
		t.Errorf("cluster or a time is missing: %+v", state)
	}
}

func summary(s sdk.Snapshot) string {
	var parts []string
	for _, svc := range s.Services {
		parts = append(parts, fmt.Sprintf("%s:%d", svc.Name, len(svc.Instances)))
	}
	return strings.Join(parts, " ")
}

func TestDecodeEventsInOrderEndInTheLastState(t *testing.T) {
	var last sdk.Snapshot
	for n, body := range updates(t) {
		snap, err := catalog.DecodeEvent(body)
		if err != nil {
			t.Fatalf("post %d: %v", n+1, err)
		}
		if snap.Last == nil || snap.Last.Instance.Name == "" || snap.Last.Time.IsZero() {
			t.Errorf("post %d has no last change: %+v", n+1, snap.Last)
		}
		last = snap
	}
	if last.Last.PreviousStatus != sdk.Draining || last.Last.Instance.Status != sdk.Tombstone {
		t.Errorf("last change is %+v", last.Last)
	}
	want, err := catalog.Decode(recorded(t, "state-4-node3-tombstoned.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !snapshots.Equal(last, want) {
		t.Error(cmp.Diff(want, last))
	}
}

func TestStreamReadsBothRecordedForms(t *testing.T) {
	whole := readStream(t, recorded(t, "watch-by_service-false.stream"))
	grouped := readStream(t, recorded(t, "watch.stream"))
	if len(whole) != 12 || len(grouped) != 12 {
		t.Fatalf("%d whole and %d grouped objects, want 12 each", len(whole), len(grouped))
	}
	for n := range whole {
		if whole[n].Cluster != "demo" || grouped[n].Cluster != "" {
			t.Errorf("object %d: clusters %q and %q", n, whole[n].Cluster, grouped[n].Cluster)
		}
		whole[n].Cluster = ""
		if !snapshots.Equal(whole[n], grouped[n]) {
			t.Errorf("object %d differs:\n%s", n, cmp.Diff(whole[n], grouped[n]))
		}
	}
}

func readStream(t *testing.T, content []byte) []sdk.Snapshot {
	t.Helper()
	stream := catalog.NewStream(bytes.NewReader(content), 1<<20)
	var snaps []sdk.Snapshot
	for {
		snap, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return snaps
		}
		if err != nil {
			t.Fatal(err)
		}
		snaps = append(snaps, snap)
	}
}

func TestDecodeOddButValid(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"nobody there":  {`{"Servers":{}}`, ""},
		"null server":   {`{"Servers":{"a":null}}`, ""},
		"null services": {`{"Servers":{"a":{"Services":null}}}`, ""},
		"null instance": {`{"Servers":{"a":{"Services":{"x":null,"y":{"Name":"web"}}}}}`, "web:1"},
		"null time": {
			`{"LastChanged":null,"Servers":{"a":{"Services":{"y":{"Name":"web","Created":null}}}}}`,
			"web:1",
		},
		"null lists":         {`{"Services":{"web":[null,{"Name":"web"}],"x":null}}`, "web:1"},
		"no services":        {`{"Services":{}}`, ""},
		"no change event":    {`{"State":{"Servers":{}}}`, ""},
		"null change event":  {`{"ChangeEvent":null,"State":{"Servers":{}}}`, ""},
		"change of nothing":  {`{"ChangeEvent":{"Service":null},"State":{"Servers":{}}}`, ""},
		"a service so named": {`{"Servers":[{"Name":"Servers"}],"State":[{"Name":"State"}]}`, "Servers:1 State:1"},
		"unknown keys":       {`{"Servers":{},"Future":[1,{}]}`, ""},
		"white space around": {" \n{\"Servers\":{}}\n", ""},
		"every status is kept": {
			`{"a":[{"Name":"a","Status":0},{"Name":"a","Status":4},{"Name":"a","Status":9}]}`,
			"a:3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			snap, err := catalog.Decode([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(snap); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	whole := recorded(t, "state-1-node3-joining.json")
	for name, tt := range map[string]struct{ in, want string }{
		"empty": {"", "it is empty: a JSON object is missing"},
		"blank": {" \n", "it is empty: a JSON object is missing"},
		"no keys": {
			`{}`,
			`not a Sidecar catalogue: none of the keys "Servers", "State" and "Services" is there`,
		},
		"list":          {`[]`, "not a Sidecar catalogue: a list where an object belongs (at byte 1)"},
		"null":          {`null`, "not a Sidecar catalogue: it is the value null"},
		"string":        {`"hello"`, "not a Sidecar catalogue: a string where an object belongs (at byte 7)"},
		"null state":    {`{"State":null}`, `not a Sidecar catalogue: the key "State" is null, not an object`},
		"wrong servers": {`{"Servers":7}`, `not a Sidecar catalogue: the key "Servers" is a number, not an object`},
		"hollow event": {
			`{"State":{}}`,
			`not a Sidecar StateChangedEvent: the key "Servers" in "State" is missing or null`,
		},
		"no instances":  {`{"errors":[]}`, "not a Sidecar catalogue: its lists have no instance with a Name"},
		"twice":         {`{"Servers":{},"servers":null}`, `not a Sidecar state: the key "Servers" is there twice`},
		"cut off":       {string(whole[:1000]), "the JSON ends in the middle, as if cut off (at byte 1000)"},
		"trailing":      {`{"Servers":{}} x`, "not JSON: invalid character 'x' after top-level value (at byte 15)"},
		"second object": {`{"Servers":{}}{}`, "not JSON: invalid character '{' after top-level value (at byte 14)"},
		"not JSON": {
			`{"Servers":]}`,
			"not JSON: invalid character ']' looking for beginning of value (at byte 11)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := catalog.Decode([]byte(tt.in))
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestDecodeEventWantsAnEvent(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:             `not a Sidecar StateChangedEvent: the key "State" is missing or null`,
		`null`:           `not a Sidecar StateChangedEvent: the key "State" is missing or null`,
		`{"State":null}`: `not a Sidecar StateChangedEvent: the key "State" is missing or null`,
		`{"Servers":{}}`: `not a Sidecar StateChangedEvent: the key "State" is missing or null`,
		`{"State":{"Servers":null}}`: `not a Sidecar StateChangedEvent: ` +
			`the key "Servers" in "State" is missing or null`,
		`{"State":{"Servers":{}}}]`: "not JSON: invalid character ']' after top-level value (at byte 24)",
	} {
		if _, err := catalog.DecodeEvent([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
	if _, err := catalog.DecodeEvent(nil); !errors.Is(err, catalog.ErrEmpty) {
		t.Errorf("nothing: got %v", err)
	}
}

func TestStreamEndsWithAnError(t *testing.T) {
	var tooLarge *catalog.TooLargeError
	for name, tt := range map[string]struct {
		in   string
		want func(error) bool
	}{
		"cut off": {`{"Servers":`, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"garbage": {`}`, func(err error) bool { return strings.HasPrefix(err.Error(), "not JSON") }},
		"event":   {`{"State":{}}`, func(err error) bool { return strings.Contains(err.Error(), `"Servers" is missing`) }},
		"null":    {`null`, func(err error) bool { return strings.Contains(err.Error(), `"Servers" is missing`) }},
		"too large": {`{"Servers":{"` + strings.Repeat("x", 100) + `":null}}`,
			func(err error) bool { return errors.As(err, &tooLarge) && tooLarge.Limit == 64 }},
	} {
		t.Run(name, func(t *testing.T) {
			stream := catalog.NewStream(strings.NewReader(strings.Repeat(`{"Servers":{}}{}`, 50)+tt.in), 64)
			for range 100 {
				if _, err := stream.Next(); err != nil {
					t.Fatalf("before it: %v", err)
				}
			}
			if _, err := stream.Next(); err == nil || !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReadAllStopsAtTheLimit(t *testing.T) {
	for limit, fits := range map[int64]bool{4: false, 5: true, 6: true, math.MaxInt64: true} {
		got, err := catalog.ReadAll(strings.NewReader("12345"), limit)
		if fits != (err == nil && string(got) == "12345") {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
}

func TestSmallValuesInHeapsAreRefused(t *testing.T) {
	// What nobody reads counts as well, and is quickly skipped.
	with := func(value string, times int) []byte {
		return []byte(`{"State":{"Servers":{}},"X":[` + strings.Repeat(value+",", times-1) + value + "]}")
	}
	for _, test := range []struct {
		name    string
		content []byte
		refused bool
	}{
		{"objects", with("{}", 20_000), false},
		{"too many objects", with("{}", 500_000), true},
		{"values", with("0", 20_000), false},
		{"too many values", with("0", 4_000_000), true},
	} {
		_, err := catalog.DecodeEvent(test.content)
		if refused := err != nil; refused != test.refused {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A field of the wrong type costs the instance that has it, in every encoding, and nothing beside it.
func TestDecode_InvalidInstances(t *testing.T) {
	for field, value := range map[string]string{
		"ID": `{}`, "Name": `7`, "Hostname": `["h"]`, "Image": `1.5`, "ProxyMode": `true`, "Status": `"bad"`, "Created": `7`,
		"Updated": `"today"`, "Ports": `"80"`, "Ports.Port": `[{"Port":"x"}]`, "Ports.IP": `[{"IP":7}]`, "Labels": `[]`,
		"Labels.zone": `{"zone":7}`, "Ports.ServicePort": `[{"ServicePort":1e99}]`,
	} {
		key, _, _ := strings.Cut(field, ".")
		const good = `{"ID":"good","Name":"a","Hostname":"h"}`
		bad := `{"X":1,"` + key + `":` + value + `}`
		servers := `{"Servers":{"h":{"Services":{"bad":` + bad + `,"good":` + good + `}}}}`
		for encoding, content := range map[string]string{
			"state": servers, "event": `{"State":` + servers + `}`, "services": `{"Services":{"a":[` + bad + `,` + good + `]}}`,
			"by service": `{"a":[` + bad + `,` + good + `]}`,
		} {
			snap, err := catalog.Decode([]byte(content))
			if err != nil {
				t.Errorf("%s as %s: %v", field, encoding, err)
				continue
			}
			found := 0
			for _, svc := range snap.Services {
				for _, i := range svc.Instances {
					found++
					if i.ID == "good" != (i.Invalid == "") || i.Invalid != "" && !strings.Contains(i.Invalid, key) {
						t.Errorf("%s as %s: instance %q is invalid: %q", field, encoding, i.ID, i.Invalid)
					}
				}
			}
			if found != 2 {
				t.Errorf("%s as %s: %d instances", field, encoding, found)
			}
		}
	}
}

// What no configuration depends on may be anything.
func TestDecode_InvalidDetails(t *testing.T) {
	content := `{"State":{"LastChanged":7,"ClusterName":[],"Hostname":{},"Servers":{"h":{"Name":7,"LastUpdated":"today",` +
		`"LastChanged":{},"Services":{"1":{"ID":"1","Name":"a","Hostname":"h"}}}}},"ChangeEvent":"none"}`
	var decoder catalog.Decoder
	for _, decode := range []func([]byte) (sdk.Snapshot, error){catalog.DecodeEvent, catalog.Decode, decoder.DecodeEvent} {
		if snap, err := decode([]byte(content)); err != nil || len(snap.Services) != 1 || snap.Last != nil {
			t.Errorf("%+v, %v", snap, err)
		}
	}
}

// An instance that has too much of something is invalid before that takes any memory, and the others are read.
func TestDecode_InstancesWithTooMuch(t *testing.T) {
	t.Parallel()
	list := func(opening, one, closing string, n int) string {
		return opening + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + closing
	}
	labels := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"k%d":"v"`, i))
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	const port = `{"Type":"tcp","Port":80,"IP":"h.x"}`
	for name, test := range map[string]struct {
		member string
		fits   bool
	}{
		"ports":           {`"Ports":` + list("[", port, "]", 256), true},
		"one port more":   {`"Ports":` + list("[", port, "]", 257), false},
		"a million ports": {`"Ports":` + list("[", "{}", "]", 1_000_000), false},
		"empty ports":     {`"Ports":` + list("[", "{}", "]", 200), false},
		"labels":          {`"Labels":` + labels(256), true},
		"one label more":  {`"Labels":` + labels(257), false},
		"a long image":    {`"Image":"` + strings.Repeat("x", 1<<20) + `"`, false},
		"unknown members": {`"X":` + list("[", "0", "]", 1_000_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := `{"ID":"bad","Name":"a","Hostname":"h",` + test.member + `}`
			const good = `{"ID":"good","Name":"a","Hostname":"h"}`
			content := `{"State":{"Servers":{"h":{"Services":{"bad":` + bad + `,"good":` + good + `}}}}}`
			var decoder catalog.Decoder
			checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, []byte(content))
			snap, err := decoder.DecodeEvent([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range slices.Concat(snap.Services[0].Instances, snap.Services[len(snap.Services)-1].Instances) {
				if valid := i.Invalid == ""; valid != (test.fits || i.ID == "good") {
					t.Errorf("%s is invalid because of %q", i.ID, i.Invalid)
				}
			}
		})
	}
}

// The bounds are the same in every encoding: many tiny instances are too many, and a million ports of one are its own matter.
func TestDecode_BoundsOfEachEncoding(t *testing.T) {
	t.Parallel()
	const good = `{"ID":"good","Name":"a","Hostname":"h"}`
	tiny := func(key string) string {
		var out strings.Builder
		for n := range 200_000 {
			fmt.Fprintf(&out, key, n)
			out.WriteString(`{"Name":"a"},`)
		}
		return out.String()
	}
	bad := `{"ID":"bad","Name":"a","Hostname":"h","Ports":[` + strings.Repeat("{},", 1_000_000) + `{}]},`
	for encoding, write := range map[string]func(more func(key string) string) string{
		"state": func(more func(string) string) string {
			return `{"Servers":{"h":{"Services":{` + more(`"%d":`) + `"good":` + good + `}}}}`
		},
		"event": func(more func(string) string) string {
			return `{"State":{"Servers":{"h":{"Services":{` + more(`"%d":`) + `"good":` + good + `}}}}}`
		},
		"services":   func(more func(string) string) string { return `{"Services":{"a":[` + more("") + good + `]}}` },
		"by service": func(more func(string) string) string { return `{"a":[` + more("") + good + `]}` },
	} {
		many := write(func(key string) string {
			if key == "" {
				return strings.Repeat(`{"Name":"a"},`, 400_000)
			}
			return tiny(key) + strings.ReplaceAll(tiny(key), `"Name":"a"`, `"Name":"b"`)
		})
		if _, err := catalog.Decode([]byte(many)); err == nil {
			t.Errorf("%s: 400,000 tiny instances are taken", encoding)
		}
		one := write(func(key string) string {
			if key == "" {
				return bad
			}
			return fmt.Sprintf(key, 1) + bad
		})
		snap, err := catalog.Decode([]byte(one))
		if err != nil {
			t.Errorf("%s: a million ports of one instance: %v", encoding, err)
			continue
		}
		for _, i := range snap.Services[0].Instances {
			if (i.Invalid == "") != (i.ID == "good") {
				t.Errorf("%s: %s is invalid because of %q", encoding, i.ID, i.Invalid)
			}
		}
	}
}
