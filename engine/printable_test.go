package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"web ä 日本 \ufffd":          "web ä 日本 \ufffd",
		"two\nlines\tand\r\n":      "two\nlines\tand\\r\n",
		"\x1b[31mred\x1b[0m\a\b":   `\x1b[31mred\x1b[0m\a\b`,
		"\x7f\u009b2J":             `\x7f\u009b2J`,
		"a\u202eb\u200bc\u2028d":   `a\u202eb\u200bc\u2028d`,
		"\xff\xfe\U000e0041\ufffd": `\xff\xfe\U000e0041` + "\ufffd",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if got, want := OneLine(text), strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(want); got != want {
			t.Errorf("%q on a line: got %q, want %q", text, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, text := range []string{"", "web", "\x1b]0;x\a", "a\nlevel=error msg=b", "\u2028\u202e\u009b\x7f", "\xff\xed\xa0\x80"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := OneLine(text)
		if strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 || !utf8.ValidString(line) {
			t.Errorf("%q became %q", text, line)
		}
		if again := OneLine(line); again != line {
			t.Errorf("%q became %q, and that %q", text, line, again)
		}
		plain, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		clean := PrintableJSON(plain)
		if strings.IndexFunc(string(clean), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 || !utf8.Valid(clean) {
			t.Errorf("%q became %q", plain, clean)
		}
		var before, after string
		if json.Unmarshal(plain, &before) != nil || json.Unmarshal(clean, &after) != nil || before != after {
			t.Errorf("%q became %q", plain, clean)
		}
	})
}
