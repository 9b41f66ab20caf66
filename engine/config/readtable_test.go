package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTable_KeepsTypes(t *testing.T) {
	want := map[string]any{
		"count": int64(3), "share": 0.5, "name": "x", "on": true,
		"tls": map[string]any{"versions": []any{"1.2", "1.3"}},
	}
	for name, content := range map[string]string{
		"vars.toml": "count = 3\nshare = 0.5\nname = \"x\"\non = true\n[tls]\nversions = [\"1.2\", \"1.3\"]\n",
		"vars.yaml": "count: 3\nshare: 0.5\nname: x\non: true\ntls: {versions: ['1.2', '1.3']}\n",
		"vars.json": `{"count": 3, "share": 0.5, "name": "x", "on": true, "tls": {"versions": ["1.2", "1.3"]}}`,
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTable(path)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func TestReadTable_ErrorsNameTheFile(t *testing.T) {
	directory := t.TempDir()
	for name, want := range map[string]string{
		"missing.toml": "cannot be read: no such file",
		"vars.ini":     "has the extension",
		"wrong.toml":   ":2:",
	} {
		path := filepath.Join(directory, name)
		if name != "missing.toml" {
			if err := os.WriteFile(path, []byte("a = 1\nb = =\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ReadTable(path)
		if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
