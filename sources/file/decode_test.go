package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var recordedNames = []string{
	"services.json", "state-1-node3-joining.json", "state-4-node3-tombstoned.json", "updates/post-031.json",
}

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../sidecar/testdata/recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func asYAML(t testing.TB, content []byte) []byte {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(content, &tree); err != nil {
		t.Fatal(err)
	}
	out, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDecode_RecordedEncodings(t *testing.T) {
	for _, name := range recordedNames {
		content := recorded(t, name)
		want, err := catalog.Decode(content)
		if err != nil {
			t.Fatal(err)
		}
		for as, content := range map[string][]byte{
			"x.json": content, "x.txt": content, "-": content, "x.yaml": asYAML(t, content), "x.YML": asYAML(t, content),
			"x": asYAML(t, content),
		} {
			got, err := Decode(as, content, "here")
			if err != nil {
				t.Fatalf("%s as %s: %v", name, as, err)
			}
			if !snapshots.Equal(got, want) || !got.Changed.Equal(want.Changed) || got.Source != "here" || got.Taken.IsZero() {
				t.Errorf("%s as %s (-want +got):\n%s", name, as, cmp.Diff(want, got))
			}
		}
	}
}

func TestDecode_List(t *testing.T) {
	created := time.Date(2026, 11, 22, 7, 44, 54, 0, time.UTC)
	full := sdk.Instance{
		ID: "0123", Name: "web", Image: "1.10", Created: created, Updated: created, Hostname: "node-1",
		Ports: []sdk.Port{
			{Type: "tcp", Port: 31180, ServicePort: 8080, IP: "10.0.0.1"},
			{Type: "udp", Port: 53},
		},
		ProxyMode: "tcp", Status: sdk.Draining, Labels: map[string]string{"zone": "a", "rank": "7"},
	}
	for name, content := range map[string]string{
		"full.yaml": `
- id: 0123
  name: web
  image: 1.10
  created: 2026-11-22T07:44:54Z
  updated: "2026-11-22T07:44:54Z"
  hostname: node-1
  proxy_mode: TCP
  status: draining
  labels: {zone: a, rank: 7}
  ports:
    - {port: 31180, service_port: 8080, ip: 10.0.0.1, type: }
    - {port: 0x35, type: UDP}
`,
		"sidecar-keys.yaml": `
- {ID: "0123", Name: web, Image: "1.10", Created: 2026-11-22T07:44:54Z, Updated: 2026-11-22T07:44:54Z, Hostname: node-1,
   ProxyMode: tcp, Status: 4, Labels: {zone: a, rank: "7"}, Ports: [
   {Type: tcp, Port: 31180, ServicePort: 8080, IP: 10.0.0.1}, {Type: udp, Port: 53, ServicePort: 0, IP: ""}]}
`,
		"anchors.yaml": `
- &web
  id: "0123"
  name: web
  image: "1.10"
  created: 2026-11-22T07:44:54Z
  updated: 2026-11-22T07:44:54Z
  hostname: node-1
  proxy_mode: tcp
  status: draining
  labels: &labels {zone: a, rank: "7"}
  ports:
    - &port {port: 31180, service_port: 8080, ip: 10.0.0.1}
    - {port: 53, type: udp}
`,
		"full.json": `[
	{"id": "0123", "name": "web", "image": 1.10, "created": "2026-11-22T07:44:54Z", "updated": "2026-11-22T07:44:54Z",
	 "hostname": "node-1", "proxyMode": "tcp", "status": "4", "labels": {"zone": "a", "rank": 7},
	 "ports": [{"port": "31180", "service-port": 8080, "ip": "10.0.0.1"}, {"port": 53, "type": "udp"}]}]`,
	} {
		got, err := Decode(name, []byte(content), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := sdk.GroupByName([]sdk.Instance{full})
		if diff := cmp.Diff(want, got.Services); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecode_ListDefaults(t *testing.T) {
	decode := func(content string) []sdk.Instance {
		snap, err := Decode("x.yaml", []byte(content), "")
		if err != nil {
			t.Fatal(err)
		}
		return snap.Services[0].Instances
	}
	got := decode("- {name: web, ports: [{port: 1, ip: 10.0.0.1}]}\n- {name: web, ports: [{port: 2, ip: 10.0.0.1}]}\n")
	want := sdk.Instance{ID: got[0].ID, Name: "web", Hostname: "10.0.0.1", ProxyMode: "http", Status: sdk.Alive}
	want.Ports = []sdk.Port{{Type: "tcp", Port: got[0].Ports[0].Port, IP: "10.0.0.1"}}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got[0].ID) != 12 || got[0].ID == got[1].ID {
		t.Errorf("ids %q and %q", got[0].ID, got[1].ID)
	}
	again := decode("- {name: web, image: new, ports: [{port: 1, ip: 10.0.0.1}]}")[0]
	if again.ID != got[0].ID && again.ID != got[1].ID {
		t.Error("a new image changes the id")
	}
}

func TestDecode_MergeKeys(t *testing.T) {
	const content = `
- &base {name: web, hostname: a, status: draining, ports: [{port: 1}]}
- {<<: *base, hostname: b}
- {hostname: c, <<: [{status: unhealthy}, *base]}
`
	snap, err := Decode("x.yaml", []byte(content), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range snap.Services[0].Instances {
		got = append(got, fmt.Sprintf("%s/%s/%d", i.Hostname, i.StatusString(), len(i.Ports)))
	}
	if s := strings.Join(got, " "); s != "a/Draining/1 b/Draining/1 c/Unhealthy/1" {
		t.Error(s)
	}
}

func TestDecode_EmptyList(t *testing.T) {
	for name, content := range map[string]string{"x.json": "[]", "x.yaml": "# nobody\n[]\n", "x": "[ ]"} {
		if snap, err := Decode(name, []byte(content), ""); err != nil || len(snap.Services) != 0 {
			t.Errorf("%s: %v, %v", name, snap, err)
		}
	}
}

// An error begins with the file and, where it is known, the line, and quotes what is wrong.
func TestDecode_ErrorPositions(t *testing.T) {
	for name, tt := range map[string]struct{ in, position, mentions string }{
		"empty.yaml":    {" \n", "empty.yaml: ", "[]"},
		"comments.yaml": {"# x\n", "comments.yaml: ", "[]"},
		"keys.yaml": {"- name: web\n  hostname: a\n  prots: []\n- name: web\n  hostname: b\n  ports:\n    - prot: 1\n",
			"keys.yaml:3: ", `"prots"`},
		"portkeys.yaml": {"- name: web\n  hostname: b\n  ports:\n    - prot: 1\n",
			"portkeys.yaml:4: ", "type, port, service_port, ip"},
		"twice.yaml": {"- {name: a, hostname: h, id: x}\n- {name: b, hostname: h, id: x}\n", "twice.yaml:2: ",
			`line 1 has the same hostname "h" and id "x"`},
		"samekey.yaml": {"- name: a\n  hostname: h\n  Name: b\n", "samekey.yaml:3: ", `duplicate key "name"`},
		"doubled.yaml": {"- name: a\n  hostname: h\n  name: b\n", "doubled.yaml:3: ", `duplicate key "name"`},
		"doubled.json": {"[{\"name\": \"a\",\n\"name\": \"b\"}]", "doubled.json:2: ", `duplicate key "name"`},
		"syntax.json":  {"[\n{\"name\": \"a\",}\n]", "syntax.json:2: ", "'}'"},
		"comment.json": {"[\n# web\n{\"name\": \"a\"}\n]", "comment.json:2: ", "'#'"},
		"control.json": {"[\n\"a\tb\"]", "control.json:2: ", `'\t'`},
		"cut.json":     {"[\n{\"name\":\n", "cut.json:3: ", "truncated"},
		"more.json":    {"[]\n[]", "more.json:2: ", "'['"},
		"syntax.yaml":  {"- name: a\n  ports: [\n", "syntax.yaml: yaml: line 2: ", ""},
		"two.yaml":     {"[]\n---\n[]\n", "two.yaml:2: ", "second YAML document"},
		"merge.yaml":   {"- name: a\n  <<: 7\n", "merge.yaml:2: ", "a number"},
		"merges.yaml":  {"- name: a\n  <<: [{}, 7]\n", "merges.yaml:2: ", "a number"},
		"loop.yaml":    {"- &a\n  name: x\n  labels: *a\n", "loop.yaml:1: ", "100"},
		"deep.json":    {strings.Repeat("[", 102) + strings.Repeat("]", 102), "deep.json:1: ", "100"},
		"nan.yaml":     {"- name: .nan\n", "nan.yaml:1: ", `".nan"`},
		"inf.yaml":     {"- name: .inf\n", "inf.yaml:1: ", `".inf"`},
		"low.yaml":     {"- name: a\n  id: -.inf\n", "low.yaml:2: ", `"-.inf"`},
		"bool.yaml":    {"- name: !!bool x\n", "bool.yaml:1: ", `"x"`},
		"list.yaml":    {"- name: a\n  ? [x]\n  : 1\n", "list.yaml:2: ", "key"},
		"text.yaml":    {"hello\n", "text.yaml:1: ", "a string"},
		"other.yaml":   {"web:\n  port: 1\n", "other.yaml: ", `"Servers"`},
		"sidecar.yaml": {"Servers:\n  a:\n    Services: 7\n", "sidecar.yaml:3: ", "a number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(name, []byte(tt.in), "")
			if err == nil || !strings.HasPrefix(err.Error(), tt.position) || !strings.Contains(err.Error(), tt.mentions) {
				t.Errorf("got %v, want %s and %s", err, tt.position, tt.mentions)
			}
		})
	}
}

func TestDecode_ReportsAllFaultsOfAList(t *testing.T) {
	_, err := Decode("x.yaml", []byte("- {name: a, hostname: h, x: 1}\n- {name: b, hostname: h, id: 1,\n   y: 2}\n"), "")
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "x.yaml:1: ") || !strings.HasPrefix(lines[1], "x.yaml:3: ") {
		t.Errorf("got %v", err)
	}
}

// JSON is read as encoding/json reads it, whatever the name of the file.
func TestDecode_JSON(t *testing.T) {
	const format = `[{"name": %s, "hostname": "h", "id": %s}]`
	long := strings.Repeat("k", 2000)
	for name, tt := range map[string]struct{ in, name, id string }{
		"tabs":             {"\t[\n\t{\n\t\t\"name\":\t\"a\",\n\t\t\"hostname\":\"h\",\"id\":\"b\"\n\t}\n]\n", "a", "b"},
		"line ends":        {"[{\r\n\"name\"\r\n:\"a\",\"hostname\":\"h\",\"id\":\"b\"}]\r\n", "a", "b"},
		"escapes":          {fmt.Sprintf(format, `"\ud83d\ude00\/\b\f\u0041"`, `"\\\"\n\r\t"`), "😀/\b\fA", "\\\"\n\r\t"},
		"half a surrogate": {fmt.Sprintf(format, `"\ud83d"`, `"x"`), "\ufffd", "x"},
		"bytes":            {fmt.Sprintf(format, "\"\x7f\u2028\uffff\"", `"&<>#: "`), "\x7f\u2028\uffff", "&<>#: "},
		"words of YAML":    {fmt.Sprintf(format, `"~"`, `"0x10"`), "~", "0x10"},
		"large number":     {fmt.Sprintf(format, `"a"`, "123456789012345678901234567890"), "a", "123456789012345678901234567890"},
		"exponents":        {fmt.Sprintf(format, "1e5", "-0.0E+2"), "1e5", "-0.0E+2"},
		"long text":        {fmt.Sprintf(format, `"`+long+`"`, `"x"`), long, "x"},
	} {
		for _, file := range []string{"x.json", "x.yaml", "x"} {
			snap, err := Decode(file, []byte(tt.in), "")
			if err != nil {
				t.Errorf("%s as %s: %v", name, file, err)
				continue
			}
			if i := snap.Services[0].Instances[0]; i.Name != tt.name || i.ID != tt.id || i.Invalid != "" {
				t.Errorf("%s as %s: %q, %q, %s", name, file, i.Name, i.ID, i.Invalid)
			}
		}
	}
	labels := `[{"name": "a", "hostname": "h", "labels": {"` + long + `": "x", "<<": "y", "~": "z"}}]`
	snap, err := Decode("x.yaml", []byte(labels), "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{long: "x", "<<": "y", "~": "z"}
	if diff := cmp.Diff(want, snap.Services[0].Instances[0].Labels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecode_AliasBomb(t *testing.T) {
	bomb := "- &a0 [x]\n"
	for n := range 30 {
		bomb += fmt.Sprintf("- &a%d [*a%d, *a%d, *a%d]\n", n+1, n, n, n)
	}
	if _, err := Decode("x.yaml", []byte(bomb), ""); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range recordedNames {
		f.Add("x.json", recorded(f, name))
		f.Add("x.yaml", asYAML(f, recorded(f, name)))
	}
	f.Add("x", []byte("- &a {name: web, hostname: a, ports: [{port: 1, service_port: 80}]}\n- {<<: *a, hostname: b}\n"))
	f.Add("x", []byte(`[{"name": "web", "hostname": "a", "status": 4, "labels": {"a": "b"}}]`))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		snap, err := Decode(name, content, "")
		if err != nil {
			return
		}
		for _, svc := range snap.Services {
			for _, i := range svc.Instances {
				if i.Name != svc.Name {
					t.Fatalf("an instance of %q is among those of %q", i.Name, svc.Name)
				}
			}
		}
	})
}

func TestDecode_FilesOfOtherEditors(t *testing.T) {
	for name, content := range map[string]string{
		"a.json": "\ufeff[{\"name\": \"web\",\r\n\"hostname\": \"h\"}]\r\n",
		"a.yaml": "\ufeff- name: web\r\n  hostname: h\r\n",
		"a":      "\ufeff[{\"name\": \"web\", \"hostname\": \"h\"}]",
	} {
		snap, err := Decode(name, []byte(content), "here")
		if err != nil || len(snap.Services) != 1 || snap.Services[0].Name != "web" {
			t.Errorf("%s: %v, %v", name, snap.Services, err)
		}
	}
}

// YAML may write a whole number as a float and in other bases.
func TestDecode_NumbersOfYAML(t *testing.T) {
	for in, want := range map[string]int64{
		"3": 3, "0x3": 3, "3.0": 3, "03": 3, "+3": 3, "3e0": 3, `"3"`: 3, "3.5": -1, `"3.0"`: -1, `"0x3"`: -1, "-3": -1,
	} {
		t.Run(in, func(t *testing.T) {
			content := "- {name: a, hostname: h, status: " + in + "}\n- {name: b, hostname: h, ports: [{port: " + in + "}]}\n"
			snap, err := Decode("x.yaml", []byte(content), "")
			if err != nil {
				t.Fatal(err)
			}
			status, port := snap.Services[0].Instances[0], snap.Services[1].Instances[0]
			if valid := want > 0; valid != (status.Invalid == "") || valid != (port.Invalid == "") {
				t.Fatalf("the status is invalid: %q, and the port: %q", status.Invalid, port.Invalid)
			}
			if want > 0 && (int64(status.Status) != want || port.Ports[0].Port != want) {
				t.Errorf("status %d and port %d", status.Status, port.Ports[0].Port)
			}
		})
	}
}

// Sidecar's codec gets a number as it is, whatever the encoding of the file.
func TestDecode_NumbersOfSidecar(t *testing.T) {
	for _, field := range []string{`"Status": 1.9`, `"Status": 1e0`, `"Ports": [{"Type": "tcp", "Port": 31180.9}]`} {
		content := []byte(`{"Services": {"a": [{"ID": "x", "Name": "a", "Hostname": "h", ` + field + `}]}}`)
		want, wantErr := catalog.Decode(content)
		got, err := Decode("x.json", content, "")
		if (err == nil) != (wantErr == nil) || !cmp.Equal(got.Services, want.Services) {
			t.Errorf("%s (-want +got):\n%s\n%v, want %v", field, cmp.Diff(want.Services, got.Services), err, wantErr)
		}
	}
}

// An instance with a wrong value is invalid, and the others are not.
func TestDecode_InvalidInstances(t *testing.T) {
	const good = `{"name": "web", "hostname": "h", "id": "good"}`
	for name, tt := range map[string]struct{ in, field string }{
		"hostname":     {`{"name": "web", "id": "x", "hostname": ["x"]}`, "hostname"},
		"status":       {`{"name": "web", "id": "x", "hostname": "h", "status": "well"}`, "status"},
		"mode":         {`{"name": "web", "id": "x", "hostname": "h", "proxy_mode": "https"}`, "proxy_mode"},
		"time":         {`{"name": "web", "id": "x", "hostname": "h", "created": "today"}`, "created"},
		"port":         {`{"name": "web", "id": "x", "hostname": "h", "ports": [{"port": "x"}]}`, "port"},
		"port too low": {`{"name": "web", "id": "x", "hostname": "h", "ports": [{"port": 0}]}`, "port"},
		"service port": {`{"name": "web", "id": "x", "hostname": "h", "ports": [{"port": 1, "service_port": 70000}]}`,
			"service_port"},
		"fraction":      {`{"name": "web", "id": "x", "hostname": "h", "ports": [{"port": 80.9}]}`, "port"},
		"small":         {`{"name": "web", "id": "x", "hostname": "h", "ports": [{"port": 1, "service_port": 1e-7}]}`,
			"service_port"},
		"half a status": {`{"name": "web", "id": "x", "hostname": "h", "status": 1.9}`, "status"},
		"no port":       {`{"name": "web", "id": "x", "hostname": "h", "ports": [7]}`, "port"},
		"no ports":      {`{"name": "web", "id": "x", "hostname": "h", "ports": {}}`, "ports"},
		"labels":        {`{"name": "web", "id": "x", "hostname": "h", "labels": []}`, "labels"},
		"nothing in it": {`{}`, "name"},
		"a number":      {`7`, "instance"},
	} {
		for _, file := range []string{"x.json", "x.yaml"} {
			snap, err := Decode(file, []byte("["+tt.in+", "+good+"]"), "")
			if err != nil {
				t.Errorf("%s as %s: %v", name, file, err)
				continue
			}
			for _, svc := range snap.Services {
				for _, i := range svc.Instances {
					if good := i.ID == "good"; good != (i.Invalid == "") || !good && !strings.Contains(i.Invalid, tt.field) {
						t.Errorf("%s as %s: instance %q is invalid: %q", name, file, i.ID, i.Invalid)
					}
				}
			}
		}
	}
}
