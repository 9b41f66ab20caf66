package haproxy

import (
	"bytes"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, test := range []struct{ name, config, want string }{
		{"empty", "", ""},
		{"blank", "\n \t\r\n# all comment\n   # and indented\n", ""},
		{"white space", "\tbind   127.0.0.1:80 \t name  x  \r\n", "bind 127.0.0.1:80 name x\n"},
		{"no newline at the end", "global", "global\n"},
		{"comment after a word", "maxconn 20#0", "maxconn 20\n"},
		{"quoted", `log-format "a  # b"  x # c`, `log-format "a  # b" x` + "\n"},
		{"single quotes", `x 'a  \' # c`, `x 'a  \'` + "\n"},
		{"quote in quotes", `x "it's  # one" 'say "  #"' # c`, `x "it's  # one" 'say "  #"'` + "\n"},
		{"escaped", `x a\ \ b \# c\\# d`, `x a\ \ b \# c\\` + "\n"},
		{"escaped quote", `x \"a  # b"`, `x \"a` + "\n"},
		{"escaped quote in quotes", `x "a\"  # b" # c`, `x "a\"  # b"` + "\n"},
		{"backslash at the end", `x \`, `x \` + "\n"},
		{"unfinished quote", `x "a  # b`, `x "a  # b` + "\n"},
	} {
		if got := string(normalize([]byte(test.config))); got != test.want {
			t.Errorf("%s: %q became %q, want %q", test.name, test.config, got, test.want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"global\n    maxconn 10 # x\n", `a "b  #" 'c\' \# d`, "a\\\n b", "\"\n'\n#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		normal := normalize(config)
		if again := normalize(normal); !bytes.Equal(again, normal) {
			t.Errorf("the normal form %q has the normal form %q", normal, again)
		}
		var spaced []byte
		for line := range bytes.SplitSeq(config, []byte("\n")) {
			spaced = append(spaced, " \t"...)
			spaced = append(spaced, line...)
			spaced = append(spaced, "\n\n# comment\n"...)
		}
		if got := normalize(spaced); !bytes.Equal(got, normal) {
			t.Errorf("with comments and blank lines %q became %q", normal, got)
		}
	})
}

func TestFirstChange(t *testing.T) {
	const config = "global\nfrontend web\nbind :80\nbackend app\nserver a 1\n"
	for _, test := range []struct{ name, after, want string }{
		{"line", "global\nfrontend web\nbind :80\nbackend app\nserver b 2\n",
			"the configuration differs in backend app, first at: server b 2"},
		{"section", "global\nfrontend web\nbind :80\nbackend new\nserver a 1\n",
			"the configuration differs in frontend web, first at: backend new"},
		{"more", config + "server b 2\n", "the configuration goes on after backend app: server b 2"},
		{"less", "global\nfrontend web\n", "the configuration ends earlier, in frontend web"},
	} {
		if got := firstChange([]byte(config), []byte(test.after)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func BenchmarkNormalize(b *testing.B) {
	config := bytes.Repeat([]byte("    server web-1 10.0.0.1:8080 cookie web-1 check # of 15,000\n"), 15000)
	b.SetBytes(int64(len(config)))
	for b.Loop() {
		normalize(config)
	}
}
