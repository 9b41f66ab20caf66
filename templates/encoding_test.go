package templates

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const smallConfig = "defaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n" +
	"listen a\n bind 127.0.0.1:18999\n{{ range .Services.web }} server {{ .ID }} 127.0.0.1:1\n{{ end }}"

// HAProxy accepts documents from templates with the line ends and byte order marks of all systems.
func TestRender_FilesOfOtherEditors(t *testing.T) {
	for name, text := range map[string]string{
		"no newline at the end":      smallConfig + " server last 127.0.0.1:2",
		"byte order mark":            "\ufeff" + smallConfig,
		"line ends with CR":          strings.ReplaceAll(smallConfig, "\n", "\r\n"),
		"CR and nothing at the end":  strings.ReplaceAll(smallConfig, "\n", "\r\n") + " server last 127.0.0.1:2\r",
		"form feeds between lines":   smallConfig + "\f\n# page\f\n",
		"form feed at the end":       smallConfig + "\f",
		"vertical tabs":              smallConfig + "\v\n\v",
		"white space without an end": smallConfig + "  \t",
	} {
		t.Run(name, func(t *testing.T) {
			files, _, err := mustLoad(t, setOf(t, text)).Render(t.Context(), snapshot(instance("web", "h", "a", 80)))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			save(t, file, string(files[0].Content))
			if out, err := exec.CommandContext(t.Context(), haproxyProgram(), "-c", "-f", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A newline is added where one is missing, and nowhere else; each line still has its origin.
func TestRender_LastLineEnds(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a\n", "a\n": "a\n", "a\n\n": "a\n\n", "a\r\n": "a\r\n", "\ufeffa": "a\n", "{{ if false }}a{{ end }}": "",
	} {
		tmpl := mustLoad(t, setOf(t, text))
		files, origins, err := tmpl.SourceMap(t.Context(), snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(files[0].Content); got != want {
			t.Errorf("%q renders %q, want %q", text, got, want)
		}
		if lines := strings.Count(want, "\n") + 1; want != "" && len(origins[0]) != lines {
			t.Errorf("%q has %d origins, want %d", text, len(origins[0]), lines)
		}
	}
}

// A template with a NUL byte is truncated or in UTF-16.
func TestLoad_NULBytes(t *testing.T) {
	for text, want := range map[string]Error{
		"a\nbä\x00\x00":           {Line: 2, Column: 3},
		"\xff\xfea\x00b\x00":      {Line: 1, Column: 4},
		"{{ .User }}\n\x00\x00\n": {Line: 2, Column: 1},
	} {
		_, err := setOf(t, text).Load()
		got, ok := errors.AsType[*Error](err)
		if !ok || got.Line != want.Line || got.Column != want.Column {
			t.Errorf("%q: %v, want an error at %d:%d", text, err, want.Line, want.Column)
		}
	}
}
