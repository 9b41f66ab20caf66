package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// runConfiguration loads a configuration without an environment, and the blocks of its built-in sources and sinks.
func runConfiguration(t *testing.T, b block) error {
	t.Helper()
	c, err := config.Load(config.Options{File: write(t, "haproxy-api."+b.language, b.text), Named: true})
	if err != nil {
		return err
	}
	for name, source := range c.Sources {
		err = errors.Join(err, decodeBlock("Sources", name, source.Component))
	}
	for name, sink := range c.Sinks {
		err = errors.Join(err, decodeBlock("Sinks", name, sink))
	}
	return err
}

// decodeBlock decodes the block of a source or sink as its type does. Types that are not built in are accepted.
func decodeBlock(kind, name string, c config.Component) error {
	for _, known := range builtIn {
		if known.Kind != kind || known.Type != c.Type {
			continue
		}
		decoded := reflect.New(reflect.TypeOf(known.defaults))
		decoded.Elem().Set(reflect.ValueOf(known.defaults))
		if err := sdk.Decode(c.Block, decoded.Interface()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// runInstance decodes an instance, which has no other fields than those of the contract.
func runInstance(_ *testing.T, b block) error {
	decoder := json.NewDecoder(strings.NewReader(b.text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(&sdk.Instance{})
}

// runTemplate renders a template with the services of the example templates. A fragment is what stands in the loops over services
// and their ports in the built-in template, with the names of variables of haproxy-api 0.9.
func runTemplate(t *testing.T, b block) error {
	t.Helper()
	text := b.text
	if b.role == "fragment" {
		text = "{{ range $svcName, $svcInstances := .Services }}{{ range $svcPort, $_ := getPorts $svcName }}\n" + text +
			"{{ end }}{{ end }}\n"
	}
	state := filepath.Join(repository, "examples/templates/services.yaml")
	out, err := exec.CommandContext(t.Context(), "haproxy-api", "render", "--state", state,
		"--template", write(t, "haproxy.cfg", text)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

var section = regexp.MustCompile(`(?m)^(global|defaults|frontend|backend|listen|peers|resolvers|userlist|cache|ring|` +
	`program|mailers|http-errors)\b`)

// runHAProxy has HAProxy check a configuration. Lines outside of a section are those of a backend.
func runHAProxy(t *testing.T, b block) error {
	t.Helper()
	const defaults = "defaults\n\tmode http\n\ttimeout connect 5s\n\ttimeout client 1m\n\ttimeout server 1m\n"
	text := b.text
	if !section.MatchString(text) {
		text = "listen fragment\n\tbind 127.0.0.1:8080\n" + text
	}
	out, err := exec.CommandContext(t.Context(), "haproxy", "-c", "-f", write(t, "haproxy.cfg", defaults+text)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// runLogLines checks that each line is a log line with a message that docs/logging.md lists.
func runLogLines(_ *testing.T, b block) error {
	listed, err := os.ReadFile(filepath.Join(repository, "docs/logging.md"))
	if err != nil {
		return err
	}
	line := regexp.MustCompile(`^(?:time=\S+ )?level=(?:DEBUG|INFO|WARN|ERROR) msg=("[^"]+"|\S+)( \w+=("([^"\\]|\\.)*"|\S+))*$`)
	for text := range strings.Lines(b.text) {
		match := line.FindStringSubmatch(strings.TrimSpace(text))
		if match == nil {
			return fmt.Errorf("not a log line: %s", text)
		}
		if !strings.Contains(string(listed), "`"+strings.Trim(match[1], `"`)) {
			return fmt.Errorf("docs/logging.md does not list %s", match[1])
		}
	}
	return nil
}

// runGolden compares the block with the golden file in the repository that its role names.
func runGolden(_ *testing.T, b block) error {
	name := strings.TrimPrefix(b.role, "golden ")
	want, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		return err
	}
	if string(want) != b.text {
		return errors.New("the text differs from " + name)
	}
	return nil
}

// runPart checks that the lines are in the file of the repository that the role names.
func runPart(_ *testing.T, b block) error {
	name := strings.TrimPrefix(b.role, "part ")
	content, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		return err
	}
	if !strings.Contains("\n"+string(content), "\n"+b.text) {
		return errors.New("these lines are not in " + name)
	}
	return nil
}

// runInCI checks that each command is one of those in .ci/run, which runs this test too.
func runInCI(_ *testing.T, b block) error {
	script, err := os.ReadFile(filepath.Join(repository, ".ci/run"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(b.text) {
		command, _, _ := strings.Cut(line, "#")
		if !strings.Contains(string(script), "\n"+strings.TrimSpace(command)+"\n") {
			return fmt.Errorf(".ci/run does not run %s", command)
		}
	}
	return nil
}

// write writes a file into a directory of the test and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
