package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

// A description is the OpenAPI description as clients get it.
type description struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas   map[string]schemaObject
		Responses map[string]responseObject
	}
	compiler *jsonschema.Compiler
}

type schemaObject struct {
	Ref        string `json:"$ref"`
	Enum       []string
	Required   []string
	Properties map[string]schemaObject
}

type operation struct {
	Responses  map[string]responseObject
	Parameters []struct{ Name, In string }
}

type responseObject struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema json.RawMessage }
}

func readDescription(t *testing.T) *description {
	t.Helper()
	d := &description{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(openAPIJSON(), d); err != nil {
		t.Fatal(err)
	}
	d.compiler.AssertFormat()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIJSON()))
	if err == nil {
		err = d.compiler.AddResource("openapi.json", document)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// operation returns the operation with that method at a path template.
func (d *description) operation(t *testing.T, method, path string) operation {
	t.Helper()
	var op operation
	content, ok := d.Paths[path][strings.ToLower(method)]
	if !ok {
		t.Fatalf("%s %s is not described", method, path)
	}
	if err := json.Unmarshal(content, &op); err != nil {
		t.Fatal(err)
	}
	return op
}

// check reports an error if the description does not allow the response to that operation.
func (d *description) check(t *testing.T, method, path string, resp *http.Response) {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	response, ok := d.operation(t, method, path).Responses[strconv.Itoa(resp.StatusCode)]
	if !ok {
		t.Errorf("%s %s: the code %d is not described: %s", method, path, resp.StatusCode, body)
		return
	}
	if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
		response = d.Components.Responses[name]
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	content, ok := response.Content[mediaType]
	switch {
	case len(response.Content) == 0:
		return
	case !ok:
		t.Errorf("%s %s: %d has the type %q, which is not described", method, path, resp.StatusCode, mediaType)
	case mediaType == "application/json":
		d.validate(t, method+" "+path, content.Schema, body)
	}
}

// validate reports an error if content does not satisfy the schema.
func (d *description) validate(t *testing.T, what string, schema json.RawMessage, content []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Errorf("%s: %v in %s", what, err, content)
		return
	}
	text := strings.ReplaceAll(string(schema), `"#/`, `"openapi.json#/`)
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("schema-%d.json", time.Now().UnixNano())
	if err := d.compiler.AddResource(name, parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := d.compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", what, err, content)
	}
}

func TestOpenAPI_IsValid(t *testing.T) {
	file, err := os.Open("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	schema, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi-3.1", schema); err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIJSON()))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.MustCompile("openapi-3.1").Validate(document); err != nil {
		t.Error(err)
	}
	d := readDescription(t)
	for name := range d.Components.Schemas {
		if _, err := d.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every route but those of the status page is described, and the reverse.
func TestOpenAPI_DescribesEveryRoute(t *testing.T) {
	var described, served []string
	for path, methods := range readDescription(t).Paths {
		for method := range methods {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, r := range newTestServer(t, true).routes() {
		method := r.method
		if method == "" { // the source decides
			method = http.MethodPost
		}
		if r.path != "/{$}" && r.path != "/ui/" {
			served = append(served, method+" "+r.path)
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("-served +described\n%s", diff)
	}
}

// The schemas have exactly the fields of the types that are encoded.
func TestOpenAPI_SchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	types := map[string]reflect.Type{}
	for _, root := range []any{Status{}, Generations{}, InstanceList{}, PipelineSeries{}, ChangeEvent{}, StatusEvent{}} {
		collectTypes(types, reflect.TypeOf(root))
	}
	schemas := readDescription(t).Components.Schemas
	for name, typ := range types {
		schema, ok := schemas[name]
		if !ok {
			t.Errorf("there is no schema of %s", name)
			continue
		}
		wantFields, wantRequired := []string{}, []string{}
		for i := range typ.NumField() {
			field, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			wantFields = append(wantFields, field)
			if !strings.Contains(options, "omit") {
				wantRequired = append(wantRequired, field)
			}
		}
		fields, required := []string{}, append([]string{}, schema.Required...)
		for field := range schema.Properties {
			fields = append(fields, field)
		}
		for _, list := range [][]string{wantFields, wantRequired, fields, required} {
			slices.Sort(list)
		}
		if diff := cmp.Diff(wantFields, fields); diff != "" {
			t.Errorf("the fields of %s: -type +schema\n%s", name, diff)
		}
		if diff := cmp.Diff(wantRequired, required); diff != "" {
			t.Errorf("the required fields of %s: -type +schema\n%s", name, diff)
		}
	}
}

// collectTypes adds the struct types of this module that typ consists of.
func collectTypes(types map[string]reflect.Type, typ reflect.Type) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collectTypes(types, typ.Elem())
	case reflect.Struct:
		if !strings.Contains(typ.PkgPath(), "haproxy-api") || types[typ.Name()] != nil {
			return
		}
		types[typ.Name()] = typ
		for i := range typ.NumField() {
			collectTypes(types, typ.Field(i).Type)
		}
	default:
	}
}

// The enumerations have the values of the constants.
func TestOpenAPI_EnumsHaveTheConstants(t *testing.T) {
	schemas := readDescription(t).Components.Schemas
	for _, test := range []struct {
		schema, field string
		want          []string
	}{
		{"Trigger", "kind", history.Triggers()},
		{"Change", "outcome", history.Outcomes()},
		{"Reason", "kind", constants(t, "condition.go", "Reason")},
		{"Pipeline", "state", constants(t, "condition.go", "State")},
	} {
		got := schemas[test.schema].Properties[test.field].Enum
		slices.Sort(got)
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s.%s: -constants +schema\n%s", test.schema, test.field, diff)
		}
	}
}

// constants returns the values of the string constants in the file whose names have the prefix.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == gotoken.STRING {
			value, _ := strconv.Unquote(literal.Value)
			values = append(values, value)
		}
		return true
	})
	return values
}

// The answers of every handler are as described, for a pipeline that has everything.
func TestOpenAPI_AnswersAreAsDescribed(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	env.SetConfiguration("/etc/haproxy-api.toml", time.Now())
	env.SetConfigurationError(fmt.Errorf("no such key"))
	d := readDescription(t)
	for _, code := range []string{"/ready", "/state"} {
		d.check(t, "GET", code, env.do(request{path: code}))
	}
	first := env.applied(4)
	env.addEvent()
	env.emit(1) // is held
	env.waitForStatus(func(s Status) bool { return s.Pipelines[0].Held != nil })
	one := "/api/v1/pipelines/{name}/generations/{generation}"
	for _, test := range []struct{ path, query, name, generation string }{
		{"/api/v1/status", "", "", ""},
		{"/api/v1/openapi.json", "", "", ""},
		{"/api/v1/pipelines", "", "", ""},
		{"/api/v1/pipelines/{name}", "", "haproxy", ""},
		{"/api/v1/pipelines/{name}", "", "other", ""},
		{"/api/v1/pipelines/{name}/instances", "?summary=true", "haproxy", ""},
		{"/api/v1/pipelines/{name}/instances", "?limit=-1", "haproxy", ""},
		{"/api/v1/pipelines/{name}/instances", "", "other", ""},
		{"/api/v1/pipelines/{name}/series", "", "haproxy", ""},
		{"/api/v1/pipelines/{name}/series", "?since=x", "haproxy", ""},
		{"/api/v1/pipelines/{name}/series", "", "other", ""},
		{"/api/v1/pipelines/{name}/generations", "?limit=1", "haproxy", ""},
		{"/api/v1/pipelines/{name}/generations", "?limit=0", "haproxy", ""},
		{"/api/v1/pipelines/{name}/generations", "", "other", ""},
		{one, "", "haproxy", fmt.Sprint(first.Generation)},
		{one, "", "haproxy", "1000"},
		{one, "", "haproxy", "x"},
		{one, "", "other", "1"},
		{one + "/diff", "", "haproxy", fmt.Sprint(first.Generation)},
		{one + "/diff", "", "haproxy", "1000"},
		{one + "/document", "", "haproxy", fmt.Sprint(first.Generation)},
		{one + "/document", "?file=x", "haproxy", fmt.Sprint(first.Generation)},
		{one + "/document", "?raw=x", "haproxy", fmt.Sprint(first.Generation)},
		{one + "/document", "?raw=true", "haproxy", fmt.Sprint(first.Generation)},
		{"/state", "", "", ""},
		{"/state.json", "", "", ""},
		{"/api/state.json", "", "", ""},
		{"/health", "", "", ""},
		{"/live", "", "", ""},
		{"/ready", "", "", ""},
		{"/metrics", "", "", ""},
	} {
		path := strings.NewReplacer("{name}", test.name, "{generation}", test.generation).Replace(test.path) + test.query
		d.check(t, "GET", test.path, env.do(request{path: path}))
	}
	for _, path := range []string{"/api/v1/pipelines/{name}/release", "/api/v1/pipelines/{name}/apply"} {
		for _, name := range []string{"haproxy", "other"} {
			d.check(t, "POST", path, env.do(request{method: "POST", path: strings.Replace(path, "{name}", name, 1)}))
		}
	}
	for _, path := range pushPaths {
		d.check(t, "POST", path, env.do(request{method: "POST", path: path}))
	}
}
