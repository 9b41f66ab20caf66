package catalog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

type decode func([]byte) (sdk.Snapshot, error)

// checkSame checks that the incremental decoder returns what the other one returns for the content, but for Updated times.
func checkSame(t testing.TB, incremental, whole decode, content []byte) {
	t.Helper()
	got, err := incremental(content)
	want, wantErr := whole(content)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%.300s\nhas the error %v, and decoded by itself %v", content, err, wantErr)
	}
	if !reflect.DeepEqual(withoutUpdated(got), withoutUpdated(want)) {
		t.Fatalf("%.300s\nis decoded to\n%+v\nand by itself to\n%+v", content, got, want)
	}
}

func withoutUpdated(snap sdk.Snapshot) sdk.Snapshot {
	services := snap.Services
	snap.Services = nil
	for _, svc := range services {
		svc.Instances = slices.Clone(svc.Instances)
		for n := range svc.Instances {
			svc.Instances[n].Updated = time.Time{}
		}
		snap.Services = append(snap.Services, svc)
	}
	return snap
}

// Instances that differ only in their Updated times share memory.
func TestDecoder_Heartbeats(t *testing.T) {
	t.Parallel()
	body := updates(t)[20]
	var decoder catalog.Decoder
	before, err := decoder.DecodeEvent(body)
	if err != nil {
		t.Fatal(err)
	}
	updated := regexp.MustCompile(`"(Updated|LastUpdated)":"[^"]*"`)
	for n, moved := range []string{`"$1":"2030-01-01T00:00:00.5Z"`, `"$1": "2031-01-01T00:00:00+01:00"`} {
		after, err := decoder.DecodeEvent(updated.ReplaceAll(body, []byte(moved)))
		if err != nil || len(after.Services) != len(before.Services) || len(before.Services) == 0 {
			t.Fatalf("%d: %v", n, err)
		}
		for i, svc := range after.Services {
			if !snapshots.ShareInstances(svc, before.Services[i]) {
				t.Errorf("%d: service %s is another one", n, svc.Name)
			}
		}
	}
}

// A label called Updated is no time of the instance, and an invalid time makes the instance invalid.
func TestDecoder_OtherValuesCalledUpdated(t *testing.T) {
	t.Parallel()
	event := func(instance string) []byte {
		return []byte(`{"State":{"Servers":{"h":{"Services":{"1":` + instance + `}}}}}`)
	}
	for _, pair := range [][2]string{
		{
			`{"ID":"1","Name":"a","Labels":{"Updated":"2026-11-22T07:44:54Z"}}`,
			`{"ID":"1","Name":"a","Labels":{"Updated":"2027-11-22T07:44:54Z"}}`,
		},
		{`{"ID":"1","Name":"a","Updated":"2026-11-22T07:44:54Z"}`, `{"ID":"1","Name":"a","Updated":"today"}`},
	} {
		var decoder catalog.Decoder
		before, err := decoder.DecodeEvent(event(pair[0]))
		if err != nil {
			t.Fatal(err)
		}
		after, err := decoder.DecodeEvent(event(pair[1]))
		if err != nil || snapshots.Equal(after, before) {
			t.Errorf("%s is taken for %s (%v)", pair[1], pair[0], err)
		}
		checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, event(pair[1]))
	}
}

func TestDecoder_RecordedPushes(t *testing.T) {
	t.Parallel()
	var decoder catalog.Decoder
	for _, body := range updates(t) {
		checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, body)
	}
}

func TestDecoder_RecordedStreams(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"watch.stream", "watch-by_service-false.stream"} {
		var decoder catalog.Decoder
		objects := json.NewDecoder(bytes.NewReader(recorded(t, name)))
		for objects.More() {
			var object json.RawMessage
			if err := objects.Decode(&object); err != nil {
				t.Fatal(err)
			}
			checkSame(t, decoder.DecodeWatch, catalog.DecodeWatch, object)
		}
	}
}

// Unusual content is decoded between two usual pushes, so that the decoder has something before and is compared afterwards.
func TestDecoder_UnusualContent(t *testing.T) {
	t.Parallel()
	const usual = `{"State":{"Servers":{"h":{"Name":"h","Services":{"1":{"ID":"1","Name":"a","Hostname":"h"},` +
		`"2":{"ID":"2","Name":"b","Hostname":"h"}},"LastUpdated":"2026-11-22T07:44:54Z","LastChanged":"2026-11-22T07:44:54Z"},` +
		`"k":{"Name":"k","Services":{}}},"LastChanged":"2026-11-22T07:44:54Z","ClusterName":"c"},"ChangeEvent":null}`
	first := `{"ID":"1","Name":"a","Hostname":"h"}`
	if !strings.Contains(usual, first) {
		t.Fatal("the instance is not there")
	}
	in := func(from, to string) string { return strings.Replace(usual, from, to, 1) }
	deep := func(n int) string { return `"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,"ClusterName"` }
	for name, unusual := range map[string]string{
		"another value":            in(first, `{"ID":"1","Name":"z","Hostname":"h"}`),
		"more members":             in(first, `{"ID":"1","Name":"a","Hostname":"h","Status":2}`),
		"nothing for an instance":  in(first, `null`),
		"a string for an instance": in(first, `"a"`),
		"garbage behind":           in(first, first+`x`),
		"a brace behind":           in(first, first+`}`),
		"an object behind":         in(first, first+`{}`),
		"another place":            in(`"1":`+first+`,`, ``),
		"another id":               in(`"1":`, `"3":`),
		"the id twice":             in(`"1":`, `"1":{"ID":"1","Name":"z","Hostname":"h"},"1":`),
		"the id twice with escape": in(`"1":`, `"\u0031":{"ID":"1","Name":"z","Hostname":"h"},"1":`),
		"the id not in UTF-8":      in(`"1":`, "\"\xff\":"),
		"the host twice":           in(`"k":`, `"h":`),
		"no host":                  in(`"k":{"Name":"k","Services":{}}`, `"k":null`),
		"no services":              in(`"Services":{}`, `"Services":null`),
		"services missing":         in(`,"Services":{}`, ``),
		"services twice":           in(`"Services":{}`, `"Services":{},"Services":{"1":`+first+`}`),
		"services in small":        in(`"Services":{}`, `"Services":{},"services":{"1":`+first+`}`),
		"services in long s":       in(`"Services":{}`, `"Services":{},"ſervices":{"1":`+first+`}`),
		"servers in small":         in(`"LastChanged"`, `"servers":{},"LastChanged"`),
		"servers taken back":       in(`"ClusterName"`, `"sERVERS":null,"ClusterName"`),
		"servers twice":            in(`"ClusterName"`, `"Servers":{},"ClusterName"`),
		"state taken back":         in(`"ChangeEvent"`, `"state":null,"ChangeEvent"`),
		"state twice":              in(`"ChangeEvent"`, `"State":{"ClusterName":"d"},"ChangeEvent"`),
		"state not an object":      in(`"ChangeEvent":null`, `"ChangeEvent":null}{`),
		"a name that is none":      in(`"Name":"k"`, `"Name":1`),
		"a time that is none":      in(`"LastUpdated":"2026-11-22T07:44:54Z"`, `"LastUpdated":"yesterday"`),
		"the cluster twice":        in(`"ClusterName":"c"`, `"ClusterName":"c","clusterName":"d"`),
		"a change":                 in(`null}`, `{"Service":`+first+`,"PreviousStatus":1}}`),
		"white space":              strings.NewReplacer(`:`, " :\n", `,`, "\t,\r", `}`, " } ").Replace(usual),
		"other white space":        in(`,"ClusterName"`, ",\v\"ClusterName\""),
		"an end that is missing":   usual[:len(usual)-1],
		"an end too many":          usual + `}`,
		"words behind":             usual + ` again`,
		"a comma too many":         in(`"ChangeEvent":null`, `"ChangeEvent":null,`),
		"a colon too many":         in(`"1":`, `"1"::`),
		"brackets mixed up":        in(`"ChangeEvent":null`, `"ChangeEvent":null,"x":[}`),
		"a string without an end":  in(`"ClusterName":"c"`, `"ClusterName":"c`),
		"brackets in a string":     in(`"ClusterName":"c"`, `"ClusterName":"c}],\"{\\"`),
		"unknown members":          in(`"ClusterName"`, `"x":[{"y":[1,2,"]"]}],"ClusterName"`),
		"too deep":                 in(`"ClusterName"`, deep(10_001)),
		"nearly too deep":          in(`"ClusterName"`, deep(9_997)),
		"empty":                    ``,
		"white":                    " \n",
		"null":                     `null`,
		"a list":                   `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if unusual == usual {
				t.Fatal("there is nothing unusual")
			}
			var decoder catalog.Decoder
			for _, content := range []string{usual, unusual, usual, unusual, unusual, usual} {
				checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, []byte(content))
			}
		})
	}
}

// Earlier snapshots do not change, and services without a change share memory.
func TestDecoder_SharesUnchangedServices(t *testing.T) {
	t.Parallel()
	var decoder catalog.Decoder
	decoded := func(content string) sdk.Snapshot {
		snap, err := decoder.DecodeEvent([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	const one = `{"State":{"Servers":{"h":{"Services":{"1":{"ID":"1","Name":"a","Status":0},"2":{"ID":"2","Name":"b"}}}}}}`
	before := decoded(one)
	after := decoded(strings.Replace(one, `"Status":0`, `"Status":2`, 1))
	if before.Services[0].Instances[0].Status != sdk.Alive || after.Services[0].Instances[0].Status != sdk.Unhealthy {
		t.Errorf("the change is %+v to %+v", before.Services[0], after.Services[0])
	}
	if &before.Services[1].Instances[0] != &after.Services[1].Instances[0] {
		t.Error("a service without a change was copied")
	}
	if again := decoded(one); &again.Services[1].Instances[0] != &before.Services[1].Instances[0] {
		t.Error("a service without a change was copied the second time")
	}
}

// A push with damaged bytes does not affect the next ones.
func TestDecoder_RandomEdits(t *testing.T) {
	t.Parallel()
	pushes := updates(t)
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		var decoder catalog.Decoder
		for range 100 {
			content := bytes.Clone(pushes[random.IntN(len(pushes))])
			for range random.IntN(3) {
				content = edited(content, random)
			}
			checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, content)
		}
	}
}

// edited copies a piece of content to another place, removes one, or changes one byte.
func edited(content []byte, random *rand.Rand) []byte {
	at, from := random.IntN(len(content)), random.IntN(len(content))
	length := min(1+random.IntN(40), len(content)-at, len(content)-from)
	switch random.IntN(4) {
	case 0:
		copy(content[at:], content[from:from+length])
	case 1:
		return append(content[:at], content[at+length:]...)
	case 2:
		content[at] = "{}[]\",:\\ 0nxS\xff"[random.IntN(14)]
	default: // a value, so that the content remains valid
		return bytes.Replace(content, []byte(`"Status":0`), fmt.Appendf(nil, `"Status":%d`, random.IntN(5)), 1+random.IntN(4))
	}
	return content
}
