package syntax

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
		if got := string(Normalize([]byte(test.config))); got != test.want {
			t.Errorf("%s: %q became %q, want %q", test.name, test.config, got, test.want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"global\n    maxconn 10 # x\n", `a "b  #" 'c\' \# d`, "a\\\n b", "\"\n'\n#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		normal := Normalize(config)
		if again := Normalize(normal); !bytes.Equal(again, normal) {
			t.Errorf("the normal form %q has the normal form %q", normal, again)
		}
		var spaced []byte
		for line := range bytes.SplitSeq(config, []byte("\n")) {
			spaced = append(spaced, " \t"...)
			spaced = append(spaced, line...)
			spaced = append(spaced, "\n\n# comment\n"...)
		}
		if got := Normalize(spaced); !bytes.Equal(got, normal) {
			t.Errorf("with comments and blank lines %q became %q", normal, got)
		}
	})
}
