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

// Printable returns text with escape sequences for control characters, invisible characters and invalid UTF-8: an escape becomes
// \x1b, and a character that reverses the direction of text \u202e. Newlines and tabs stay.
func Printable(text string) string { return printable(text, "\n\t") }

// OneLine is [Printable] with escape sequences for newlines and tabs too.
func OneLine(text string) string { return printable(text, "") }

func printable(text, keep string) string {
	visible := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(keep, r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !visible(r) }) < 0 {
		return text
	}
	var out strings.Builder
	for i, r := range text {
		switch {
		case isInvalid(r, text[i:]):
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case visible(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return out.String()
}

// PrintableJSON is [Printable] for JSON: it escapes such characters as JSON does, without changing the meaning of content.
// Encoders do not escape all of them.
func PrintableJSON(content []byte) []byte {
	invisible := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if utf8.Valid(content) && bytes.IndexFunc(content, invisible) < 0 {
		return content
	}
	var out bytes.Buffer
	for i, r := range string(content) {
		switch {
		case isInvalid(r, string(content[i:min(len(content), i+utf8.UTFMax)])):
			out.WriteString(`\ufffd`)
		case invisible(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

// isInvalid reports whether r, decoded from the beginning of text, stands for a byte that is not UTF-8.
func isInvalid(r rune, text string) bool {
	return r == utf8.RuneError && !strings.HasPrefix(text, string(utf8.RuneError))
}
