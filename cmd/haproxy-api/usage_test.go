package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// runRoot runs a command line in this process and returns its output.
func runRoot(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestHelp_FitsAndIsComplete(t *testing.T) {
	walk(newRoot(), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		help, err := runRoot(t, append(path, "--help")...)
		if err != nil {
			t.Errorf("%s --help: %v", cmd.CommandPath(), err)
		}
		again, err := runRoot(t, append([]string{"help"}, path...)...)
		if err != nil || again != help {
			t.Errorf("help %q differs from --help: %v", path, err)
		}
		for line := range strings.Lines(help) {
			if ansi.StringWidth(strings.TrimSuffix(line, "\n")) > helpWidth || strings.Contains(line, "…") {
				t.Errorf("%s --help has the long line %q", cmd.CommandPath(), line)
			}
			if strings.Contains(line, "[=") || strings.Contains(line, "`") || strings.HasSuffix(line, " \n") {
				t.Errorf("%s --help has the line %q", cmd.CommandPath(), line)
			}
		}
		if !isGroup(cmd) && cmd.Name() != "help" && !cmd.HasExample() {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	})
}

func TestUsage_SuggestsTheNearestName(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"statsu", `"status"`},
		{"validate", `"check"`},
		{"start", `"run"`},
		{"plugin lst", `"list"`},
		{"template tset", `"test"`},
		{"help statsu", `"status"`},
		{"help plugin lst", `"list"`},
		{"--cofnig-file x", `"--config-file"`},
		{"--confg x", `"--config-file"`},
		{"-confg x", `"--config-file"`},
		{"status --cofnig x", `"--config-file"`},
		{"status --outptu json", `"--output"`},
		{"status -output json", `"--output"`},
		{"template functions getPort", `"getPorts"`},
		{"nonsense", ""},
		{"status --nonsense", ""},
		{"status -x", ""},
	} {
		_, err := runRoot(t, strings.Fields(test.line)...)
		if _, ok := errors.AsType[*usageError](err); !ok {
			t.Errorf("%s: %v is not a usage error", test.line, err)
			continue
		}
		if suggests := strings.Contains(err.Error(), "did you mean"); !strings.Contains(err.Error(), test.want) ||
			suggests && test.want == "" {
			t.Errorf("%s: %v", test.line, err)
		}
	}
}

// A flag is suggested if a letter of it, or of its first word, is missing, doubled or at another place.
func TestUsage_SuggestsEveryFlag(t *testing.T) {
	walk(newRoot(), func(cmd *cobra.Command) {
		cmd.InheritedFlags() // adds them to cmd.Flags
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if flag.Hidden {
				return
			}
			first, _, _ := strings.Cut(flag.Name, "-")
			for _, word := range []string{first, flag.Name} {
				for _, wrong := range misspellings(word) {
					if cmd.Flags().Lookup(wrong) != nil {
						continue
					}
					err := flagError(cmd, cmd.ParseFlags([]string{"--" + wrong}))
					_, isUsage := errors.AsType[*usageError](err)
					if !isUsage || !strings.Contains(err.Error(), "did you mean \"--"+string(word[0])) {
						t.Errorf("%s --%s: %v", cmd.CommandPath(), wrong, err)
					}
				}
			}
		})
	})
}

// misspellings returns word with one letter missing, doubled or exchanged with the next one.
func misspellings(word string) (all []string) {
	for i := 1; i < len(word) && len(word) > 3; i++ {
		all = append(all, word[:i]+word[i+1:], word[:i]+word[i:i+1]+word[i:])
		if i > 1 {
			all = append(all, word[:i-1]+word[i:i+1]+word[i-1:i]+word[i+1:])
		}
	}
	return all
}

// complete returns what the shell offers for the last argument, without descriptions, and the directive for the shell.
func complete(t *testing.T, args ...string) (names []string, directive string) {
	t.Helper()
	out, err := runRoot(t, append([]string{"__complete"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if rest, ok := strings.CutPrefix(name, ":"); ok {
			return names, rest
		}
		names = append(names, name)
	}
	t.Fatalf("completing %q: %s", args, out)
	return nil, ""
}

func TestCompletion(t *testing.T) {
	const files, none, extensions, directories, keys = "0", "4", "8", "16", "6"
	file := filepath.Join(t.TempDir(), "two.toml")
	if err := os.WriteFile(file, []byte("[sinks.a]\ntype = \"file\"\npath = \"a\"\n[sinks.b]\ntype = \"file\"\npath = \"b\"\n"+
		"[pipelines.first]\nsource = \"sidecar\"\nsink = \"a\"\ntemplate = \"t\"\n"+
		"[pipelines.second]\nsource = \"sidecar\"\nsink = \"b\"\ntemplate = \"t\"\n[sidecar]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		line      string // its last word is completed; / stands for no word
		want      string // the names that are offered
		directive string
	}{
		{"stat", "status", none},
		{"plugin l", "list", none},
		{"help temp", "template", none},
		{"help template f", "functions", none},
		{"status --output /", "text json", none},
		{"status --log-level d", "debug", none},
		{"status --log-format /", "text json", none},
		{"status --watc", "--watch", none},
		{"-f " + file + " render --pipeline /", "first second", none},
		{"-f " + file + " history --pipeline s", "second", none},
		{"-f missing.toml render --pipeline /", "", none},
		{"history --action crash", "crashed", none},
		{"history --action reload,crash", "reload,crashed", none},
		{"config --set haproxy.pid", "haproxy.pid_file=", keys},
		{"template functions getP", "getPorts", none},
		{"template functions getPorts /", "", none},
		{"plugin doctor --kind s", "sink source", none},
		{"plugin doctor /", "", files},
		{"template test /", "", directories},
		{"render --state /", "", files},
		{"render --template /", "", files},
		{"render --output /", "", files},
		{"-f /", "toml yaml yml json", extensions},
		{"completion b", "bash", none},
		{"check /", "", none},
		{"status --address /", "", none},
		{"explain --address http://127.0.0.1:1 /", "", none},
	} {
		args := strings.Fields(test.line)
		if last := len(args) - 1; args[last] == "/" {
			args[last] = ""
		}
		names, directive := complete(t, args...)
		if want := strings.Fields(test.want); !slices.Equal(names, want) || directive != test.directive {
			t.Errorf("completing %q: %q and %s, want %q and %s", test.line, names, directive, want, test.directive)
		}
	}
}
