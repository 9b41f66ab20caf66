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

func TestDecode_RecordedEncodings(t *testing.T) {
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

func TestDecodeEvent_RecordedPushesEndInTheLastState(t *testing.T) {
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

func TestStream_RecordedEncodings(t *testing.T) {
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

func TestDecode_UnusualContent(t *testing.T) {
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

// wantError fails unless err is a catalog.Error with that offset whose text contains all words, or ErrEmpty for the offset 0.
func wantError(t *testing.T, err error, offset int64, words ...string) {
	t.Helper()
	if offset == 0 {
		if !errors.Is(err, catalog.ErrEmpty) {
			t.Errorf("got %v, want ErrEmpty", err)
		}
		return
	}
	var invalid *catalog.Error
	if !errors.As(err, &invalid) || invalid.Offset != offset {
		t.Errorf("got %#v, want an error at %d", err, offset)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not contain %s", err, word)
		}
	}
}

func TestDecode_Errors(t *testing.T) {
	whole := recorded(t, "state-1-node3-joining.json")
	for name, tt := range map[string]struct {
		in     string
		offset int64
		words  []string
	}{
		"empty":         {"", 0, nil},
		"blank":         {" \n", 0, nil},
		"no keys":       {`{}`, -1, []string{`"Servers"`, `"State"`, `"Services"`}},
		"list":          {`[]`, 1, []string{"a list", "an object"}},
		"null":          {`null`, -1, []string{"null"}},
		"string":        {`"hello"`, 7, []string{"a string", "an object"}},
		"null state":    {`{"State":null}`, -1, []string{`"State"`, "null", "an object"}},
		"wrong servers": {`{"Servers":7}`, -1, []string{`"Servers"`, "a number", "an object"}},
		"hollow event":  {`{"State":{}}`, -1, []string{"StateChangedEvent", `"Servers"`, `"State"`}},
		"no instances":  {`{"errors":[]}`, -1, []string{"Name"}},
		"twice":         {`{"Servers":{},"servers":null}`, -1, []string{"duplicate", `"Servers"`}},
		"cut off":       {string(whole[:1000]), 1000, []string{"truncated"}},
		"trailing":      {`{"Servers":{}} x`, 15, []string{"'x'"}},
		"second object": {`{"Servers":{}}{}`, 14, []string{"'{'"}},
		"not JSON":      {`{"Servers":]}`, 11, []string{"']'"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := catalog.Decode([]byte(tt.in))
			wantError(t, err, tt.offset, tt.words...)
		})
	}
}

func TestDecodeEvent_Errors(t *testing.T) {
	for in, tt := range map[string]struct {
		offset int64
		words  []string
	}{
		``:                           {0, nil},
		`{}`:                         {-1, []string{`"State"`}},
		`null`:                       {-1, []string{`"State"`}},
		`{"State":null}`:             {-1, []string{`"State"`}},
		`{"Servers":{}}`:             {-1, []string{`"State"`}},
		`{"State":{"Servers":null}}`: {-1, []string{`"Servers"`, `"State"`}},
		`{"State":{"Servers":{}}}]`:  {24, []string{"']'"}},
	} {
		_, err := catalog.DecodeEvent([]byte(in))
		wantError(t, err, tt.offset, tt.words...)
	}
}

func TestStream_Errors(t *testing.T) {
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

func TestReadAll_Limit(t *testing.T) {
	for limit, fits := range map[int64]bool{4: false, 5: true, 6: true, math.MaxInt64: true} {
		got, err := catalog.ReadAll(strings.NewReader("12345"), limit)
		if fits != (err == nil && string(got) == "12345") {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
}

func TestDecodeEvent_ManySmallValues(t *testing.T) {
	// Unknown members count too, and are skipped.
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

// A field of the wrong type makes its instance invalid and no other, in every encoding.
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

// Fields that no configuration depends on may have any type.
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

// An instance that exceeds a bound is invalid before it takes any memory, and the others are not.
func TestDecode_BoundsOfAnInstance(t *testing.T) {
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

// The bounds are the same in every encoding: many tiny instances are an error, and a million ports make one instance invalid.
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
			t.Errorf("%s: 400,000 tiny instances are accepted", encoding)
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
