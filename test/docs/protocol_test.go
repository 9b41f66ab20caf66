package docs_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/bufbuild/protocompile"
	difference "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	protocolReference = "../../docs/plugin-protocol.md"
	protocolTemplate  = "testdata/plugin-protocol.md.tmpl"
	protocolDirectory = "../../plugins/internal/wire"
)

// TestProtocolReference checks that docs/plugin-protocol.md is what plugin.proto and the template say. -update writes it.
func TestProtocolReference(t *testing.T) {
	t.Parallel()
	want, err := renderProtocol(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(protocolReference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(protocolReference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := difference.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/plugin-protocol.md is out of date; run go generate ./plugins/internal/wire (-want +got)\n%s", diff)
	}
}

// TestProtocolReference_NamesTheWholeProtocol compares the names in the document with those of plugin.proto.
func TestProtocolReference_NamesTheWholeProtocol(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(protocolReference)
	if err != nil {
		t.Fatal(err)
	}
	file, err := readProtocol(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkProtocolNames(string(content), file); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]string{
		"a call that is not there":    strings.Replace(string(content), "### `Sink.Reread`", "### `Sink.Reload`", 1),
		"a field that is missing":     strings.Replace(string(content), "| 1 | `document` |", "| 1 | |", 1),
		"a message that is missing":   strings.Replace(string(content), "### `CheckRequest`", "### Checking", 1),
		"a value that is not there":   string(content) + "\n`CAPABILITY_DANCE`\n",
		"a field that is not there":   string(content) + "\n`Document.color`\n",
		"a service that is not there": string(content) + "\n`Sink.Dance`\n",
	} {
		if checkProtocolNames(wrong, file) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

var (
	protocolHeading = regexp.MustCompile("(?m)^### `([\\w.]+)`$")
	protocolRow     = regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\|")
	protocolSpan    = regexp.MustCompile("`([A-Z][A-Za-z]*(?:\\.\\w+)+|[A-Z]+(?:_[A-Z]+)+)`")
)

// checkProtocolNames returns what the document lacks of the protocol, and what it names that the protocol does not have.
func checkProtocolNames(document string, file protoreflect.FileDescriptor) error {
	defined, values := protocolNames(file)
	named := map[string]bool{}
	for _, section := range strings.Split(document, "\n### ")[1:] {
		heading := protocolHeading.FindStringSubmatch("### " + section)
		if heading == nil {
			continue
		}
		named[heading[1]] = true
		for _, row := range protocolRow.FindAllStringSubmatch(section, -1) {
			named[heading[1]+"."+row[2]+" = "+row[1]] = true
		}
	}
	var errs []error
	for name := range defined {
		if !named[name] {
			errs = append(errs, fmt.Errorf("the document lacks %s", name))
		}
	}
	for name := range named {
		if !defined[name] {
			errs = append(errs, fmt.Errorf("the protocol has no %s", name))
		}
	}
	for _, span := range protocolSpan.FindAllStringSubmatch(document, -1) {
		if !values[span[1]] && !foreignNames[span[1]] {
			errs = append(errs, fmt.Errorf("the protocol has no %s", span[1]))
		}
	}
	return errors.Join(errs...)
}

// foreignNames are names in the document that look like names of the protocol and are those of gRPC and go-plugin.
var foreignNames = map[string]bool{
	"HAPROXY_API_PLUGIN": true, "PLUGIN_PROTOCOL_VERSIONS": true, "PLUGIN_CLIENT_CERT": true, "PLUGIN_UNIX_SOCKET_DIR": true,
	"PLUGIN_MIN_PORT": true, "PLUGIN_MAX_PORT": true, "DEADLINE_EXCEEDED": true,
}

// protocolNames returns the headings and rows that the document needs, and every name that a text may have: calls and fields with
// what they belong to, and values of enums.
func protocolNames(file protoreflect.FileDescriptor) (defined, values map[string]bool) {
	defined, values = map[string]bool{}, map[string]bool{}
	for _, call := range callsOf(file) {
		name := string(call.Parent().Name()) + "." + string(call.Name())
		defined[name], values[name] = true, true
	}
	for _, d := range typesOf(file) {
		defined[typeName(d)], values[typeName(d)] = true, true
		for _, m := range membersOf(d) {
			defined[fmt.Sprintf("%s.%s = %d", typeName(d), m.name, m.number)] = true
			values[typeName(d)+"."+m.name], values[m.name] = true, true
		}
	}
	return defined, values
}

// readProtocol parses plugin.proto with its comments.
func readProtocol(ctx context.Context) (protoreflect.FileDescriptor, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protocolDirectory}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, "plugin.proto")
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// callsOf returns the calls of all services, in the order of the file.
func callsOf(file protoreflect.FileDescriptor) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			all = append(all, methods.Get(j))
		}
	}
	return all
}

// typesOf returns the messages and enums, each followed by the enums in it.
func typesOf(file protoreflect.FileDescriptor) []protoreflect.Descriptor {
	var all []protoreflect.Descriptor
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		all = append(all, m)
		for j := range m.Enums().Len() {
			all = append(all, m.Enums().Get(j))
		}
	}
	for i := range file.Enums().Len() {
		all = append(all, file.Enums().Get(i))
	}
	return all
}

// typeName returns the name of a message or an enum, without the package.
func typeName(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

// A member is a field of a message or a value of an enum.
type member struct {
	name        string
	number      int
	typ         string // in Markdown; "" for a value of an enum
	description string
}

func membersOf(d protoreflect.Descriptor) []member {
	var all []member
	switch d := d.(type) {
	case protoreflect.MessageDescriptor:
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			all = append(all, member{string(f.Name()), int(f.Number()), fieldType(f), comment(f)})
		}
	case protoreflect.EnumDescriptor:
		for i := range d.Values().Len() {
			v := d.Values().Get(i)
			all = append(all, member{string(v.Name()), int(v.Number()), "", comment(v)})
		}
	}
	return all
}

func fieldType(f protoreflect.FieldDescriptor) string {
	name := "`" + f.Kind().String() + "`"
	switch {
	case f.IsMap():
		return "map of `string` to `string`"
	case f.Enum() != nil:
		name = link(f.Enum())
	case f.Message() != nil && f.Message().ParentFile() != f.ParentFile():
		name = "`" + string(f.Message().FullName()) + "`"
	case f.Message() != nil:
		name = link(f.Message())
	}
	if f.IsList() {
		return "repeated " + name
	}
	return name
}

func link(d protoreflect.Descriptor) string {
	return fmt.Sprintf("[`%s`](#%s)", typeName(d), anchor(typeName(d)))
}

var identifier = regexp.MustCompile(`\b[A-Za-z]+(_[A-Za-z]+)+\b`)

// comment returns the comment of a descriptor on one line, with identifiers as code.
func comment(d protoreflect.Descriptor) string {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := strings.Join(strings.Fields(cmp.Or(at.LeadingComments, at.TrailingComments)), " ")
	return identifier.ReplaceAllString(text, "`$0`")
}

// renderProtocol returns the content of docs/plugin-protocol.md.
func renderProtocol(ctx context.Context) (string, error) {
	file, err := readProtocol(ctx)
	if err != nil {
		return "", err
	}
	constants, err := os.ReadFile(protocolDirectory + "/wire.go")
	if err != nil {
		return "", err
	}
	constant := func(pattern string) (string, error) {
		match := regexp.MustCompile(pattern).FindSubmatch(constants)
		if match == nil {
			return "", fmt.Errorf("wire.go has no %s", pattern)
		}
		return string(match[1]), nil
	}
	parsed, err := template.New("plugin-protocol.md.tmpl").Funcs(template.FuncMap{
		"duration": durationInCode, "size": sizeInCode, "number": numberInCode,
		"cookie":   func() (string, error) { return constant(`CookieValue\s+= "(\w+)"`) },
		"version":  func() (string, error) { return constant(`ProtocolVersion\s+= (\d+)`) },
		"calls":    func() (string, error) { return renderCalls(file) },
		"messages": func() (string, error) { return renderMessages(file) },
	}).ParseFiles(protocolTemplate)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = parsed.Execute(&b, nil)
	return b.String(), err
}

func renderCalls(file protoreflect.FileDescriptor) (string, error) {
	var b strings.Builder
	for _, call := range callsOf(file) {
		stream := ""
		if call.IsStreamingServer() {
			stream = "a stream of "
		}
		if comment(call) == "" {
			return "", fmt.Errorf("%s has no comment in plugin.proto", call.FullName())
		}
		fmt.Fprintf(&b, "\n### `%s.%s`\n\nRequest: %s. Response: %s%s.\n\n%s\n", call.Parent().Name(), call.Name(),
			link(call.Input()), stream, link(call.Output()), comment(call))
	}
	return b.String(), nil
}

func renderMessages(file protoreflect.FileDescriptor) (string, error) {
	var b strings.Builder
	for _, d := range typesOf(file) {
		fmt.Fprintf(&b, "\n### `%s`\n", typeName(d))
		if text := comment(d); text != "" {
			fmt.Fprintf(&b, "\n%s\n", text)
		}
		members := membersOf(d)
		_, isEnum := d.(protoreflect.EnumDescriptor)
		switch {
		case len(members) == 0:
			b.WriteString("\nThe message is empty.\n")
			continue
		case isEnum:
			b.WriteString("\n| number | value | description |\n| --- | --- | --- |\n")
		default:
			b.WriteString("\n| number | field | type | description |\n| --- | --- | --- | --- |\n")
		}
		for _, m := range members {
			typ := ""
			if !isEnum {
				typ = " " + m.typ + " |"
			}
			if m.description == "" && !isEnum {
				return "", fmt.Errorf("%s.%s has no comment in plugin.proto", d.FullName(), m.name)
			}
			fmt.Fprintf(&b, "| %d | `%s` |%s %s |\n", m.number, m.name, typ, m.description)
		}
	}
	return b.String(), nil
}
