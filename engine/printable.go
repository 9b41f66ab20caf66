package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable returns text with everything written out that a terminal would obey or that nobody could see: an escape is \x1b,
// what turns the direction of writing round is \u202e. Line breaks and tabs stay.
func Printable(text string) string { return printable(text, "\n\t") }

// OneLine is [Printable] for what must not pass for several lines: their breaks are written out too.
func OneLine(text string) string { return printable(text, "") }

func printable(text, keep string) string {
	seen := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(keep, r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !seen(r) }) < 0 {
		return text
	}
	var out strings.Builder
	for i, r := range text {
		switch {
		case broken(r, text[i:]):
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case seen(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return out.String()
}

// PrintableJSON does to JSON what [Printable] does to text, without changing its meaning: an encoder leaves some of these
// characters as they are.
func PrintableJSON(content []byte) []byte {
	strange := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if utf8.Valid(content) && bytes.IndexFunc(content, strange) < 0 {
		return content
	}
	var out bytes.Buffer
	for i, r := range string(content) {
		switch {
		case broken(r, string(content[i:min(len(content), i+utf8.UTFMax)])):
			out.WriteString(`\ufffd`)
		case strange(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

// broken reports whether r stands for a byte that is no UTF-8, and not for itself.
func broken(r rune, text string) bool {
	return r == utf8.RuneError && !strings.HasPrefix(text, string(utf8.RuneError))
}
