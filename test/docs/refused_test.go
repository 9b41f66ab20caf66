package docs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunners_RefuseWrongBlocks checks that each runner can fail.
func TestRunners_RefuseWrongBlocks(t *testing.T) {
	t.Parallel()
	for _, wrong := range []block{
		{language: "toml", text: "[haproxy]\nno_such_key = 1\n"},
		{language: "toml", text: "[haproxy]\ndrain_timeout = \"soon\"\n"},
		{language: "toml", text: "[sinks.edge]\ntype = \"haproxy\"\nno_such_key = 1\n"},
		{language: "toml", text: "[sources.catalogue]\ntype = \"file\"\npath = 1\n"},
		{language: "yaml", text: "haproxy: [\n"},
		{language: "json", text: `{"haproxy": {"bind_ip": 7}}`},
		{language: "json", role: "instance", text: `{"Prots": []}`},
		{language: "sh", role: "ci", text: "make testing\n"},
		{language: "gotemplate", text: "{{ range }}\n"},
		{language: "gotemplate", text: "{{ noSuchFunction }}\n"},
		{language: "gotemplate", role: "fragment", text: "frontend {{ $noSuchVariable }}\n"},
		{language: "haproxy", text: "option no-such-option\n"},
		{language: "haproxy", text: "frontend web\n\tbind\n"},
		{language: "mermaid", text: "graph\n"},
		{language: "mermaid", text: "sequenceDiagram\n    participant A\n    A->>B: call\n"},
		{language: "mermaid", text: "sequenceDiagram\n    loop always\n"},
		{language: "mermaid", text: "sequenceDiagram\n    end\n"},
		{language: "mermaid", text: "sequenceDiagram\n    participant A\n    A->A call\n"},
		{language: "text", role: "drawing", text: "Source ──▶ Sinc\n"},
		{language: "text", role: "drawing", text: "sources/sidecar ──▶ sinks/sidecar\n"},
		{language: "text", role: "drawing", text: "──▶\n"},
		{language: "text", role: "log", text: "configuration reloaded\n"},
		{language: "text", role: "log", text: "level=INFO msg=\"no such message\"\n"},
		{language: "go", role: "part Makefile", text: "package main\n"},
		{language: "toml", role: "part no-such-file", text: "\n"},
		{language: "text", role: "golden LICENSE", text: "no licence\n"},
	} {
		wrong.fenced = true
		r, err := runnerFor(wrong)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := r.run(t, wrong); err == nil {
			t.Errorf("%s %s: the runner accepts %q", wrong.language, wrong.role, wrong.text)
		}
	}
}

// TestRunnerFor_RefusesWhatNobodyRuns checks that no block is left out.
func TestRunnerFor_RefusesWhatNobodyRuns(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]error{
		"A\n\n    make run\n":                 errIndented,
		"- A\n\n      make run\n":             errIndented,
		"```\nmake run\n```\n":                errNoLanguage,
		"~~~\nmake run\n~~~\n":                errNoLanguage,
		"> ```\n> make run\n> ```\n":          errNoLanguage,
		"```sh\nmake run\n```\n":              errUnclaimed, // the document has no session
		"```text\nweb-1\n```\n":               errUnclaimed,
		"- ```ruby\n  puts\n  ```\n":          errUnclaimed,
		"````console\n$ make run\n````\n":     errUnclaimed,
		"```toml example\na = 1\n```\n":       errUnclaimed,
		"```sh machine\napt install x\n```\n": errUnclaimed,
	} {
		blocks, err := parseBlocks("docs/none.md", []byte(document))
		if err != nil || len(blocks) != 1 {
			t.Errorf("%q: %d blocks, %v", document, len(blocks), err)
			continue
		}
		if _, err := runnerFor(blocks[0]); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", document, err, want)
		}
	}
}

// TestContributing_ListsKindsOfBlocks checks that CONTRIBUTING.md lists what the runners claim, and nothing else.
func TestContributing_ListsKindsOfBlocks(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(repository, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(content), "\n| block | is |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string]bool{}
	for row := range strings.Lines(table) {
		kinds, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for kind := range strings.SplitSeq(kinds, ", ") {
			info := strings.NewReplacer("`", "", "LANGUAGE", "go", "FILE", "LICENSE", "NAME", "main.go").Replace(kind)
			b := block{document: "README.md", fenced: true, after: "sh"}
			b.language, b.role, _ = strings.Cut(info, " ")
			r, err := runnerFor(b)
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			listed[r.name] = true
		}
	}
	for _, r := range runners {
		if !listed[r.name] {
			t.Errorf("CONTRIBUTING.md does not list blocks of the kind %q", r.name)
		}
	}
}

// TestSession_RefusesWrongBlocks checks that a session fails if a command fails, or prints something else than the document says.
func TestSession_RefusesWrongBlocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		blocks []block
	}{
		{"a command fails", []block{{language: "sh", text: "false\ntrue\n"}}},
		{"a command in a pipe fails", []block{{language: "sh", text: "false | cat\n"}}},
		{"an unset variable", []block{{language: "sh", text: "echo $no_such_variable\n"}}},
		{"a command that should fail", []block{{language: "sh", role: "fails", text: "true\n"}}},
		{"other output", []block{{language: "sh", text: "echo a\n"}, {language: "text", text: "b\n"}}},
		{"less output", []block{{language: "sh", text: "echo a\n"}, {language: "text", text: "a\nb\n"}}},
		{"more output", []block{{language: "sh", text: "echo a; echo b\n"}, {language: "text", text: "a\n"}}},
		{"a program that ends at once", []block{{language: "sh", role: "runs", text: "true\n"}}},
		{"a program that fails at the end", []block{{language: "sh", role: "runs",
			text: "trap 'exit 3' INT\necho ready\nwhile :; do sleep 0.05; done\n"}}},
		{"no network", []block{{language: "sh", text: "grep eth /proc/net/dev\n"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if err := (session{ready: "grep -q ready ../block-*.out"}).run(t, test.blocks); err == nil {
				t.Error("the session accepts it")
			} else {
				t.Log(err)
			}
		})
	}
}

// TestSession_KeepsState checks that blocks share a shell, and that changes of files stay in the session.
func TestSession_KeepsState(t *testing.T) {
	t.Parallel()
	err := (session{ready: "[ -e trapped ]"}).run(t, []block{
		{language: "sh", text: "mkdir here && cd here\nexport A=1\nsleep 1000 &\n"},
		{language: "toml", role: "file one/a.toml", text: "a = 1\n"},
		{language: "sh", text: "grep a here/../one/a.toml 2>/dev/null || cat one/a.toml\necho \"$A\"\nkill %1\n"},
		{language: "text", text: "a = 1\n1\n"},
		{language: "sh", role: "runs", text: "trap 'exit 0' INT\ntouch trapped\nwhile :; do sleep 0.05; done\n"},
		{language: "sh", text: "sudo touch /etc/session /opt/session\nls /etc/session /opt/session\n"},
		{language: "text", text: "/etc/session\n...\n"},
		{language: "sh", role: "fails", text: "ls /no/such/file\n"},
		{language: "text", text: "ls: …\n"},
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCompareOutput(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, output string
		equal        bool
	}{
		{"up 1d3h, pid 4711", "up  12s, pid 1", true},
		{"2026-01-01T10:00:00Z 10.0.0.7:80 v1.2.3", "2027-02-02T11:00:01.5+01:00 127.0.0.1 0.9.0-rc.1", true},
		{"took 12 ms", "took 1.5 ms", true},
		{"a\n...\nd", "a\nb\nc\nd", true},
		{"a\n...\nd", "a\nd", true},
		{"id … end", "id 5f2c end", true},
		{"a.c", "abc", false},
		{"3 services", "4 services", false},
		{"a\n...\nd", "a\nb", false},
		{"a\nb", "b\na", false},
	} {
		if got := compareOutput(test.text, test.output) == nil; got != test.equal {
			t.Errorf("%q and %q: equal is %v", test.text, test.output, got)
		}
	}
}
