package engine

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mask stands for a secret in what is logged and answered.
const Mask = "***"

// word matches a word of HAProxy's configuration, also where it is cut off or stands in a sentence that is quoted once more.
const word = `(?:\\"[^"\n]*"|"(?:[^"\\\n]|\\[^\n])*"?|'[^'\n]*'?|\\[^\n]|[^\s"'\\])+`

// maskings are what has a secret in it, and what is left of that. The first group is kept, and the second where there is one.
// HAProxy's keywords are those of its configuration manual that take a secret itself rather than the name of a file.
var maskings = []masking{
	{`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`, "${1}" + Mask + "${2}"},
	{`([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s"'@]*@`, "${1}" + Mask + "@"},
	{`(?i)\b(user\s+)` + word + `(\s+(?:insecure-)?password\s+)` + word, "${1}" + Mask + "${2}" + Mask},
	{`(?i)\b((?:stats\s+auth|(?:insecure-)?password|cluster-secret|dynamic-cookie-key|ca-sign-pass)\s+)` + word, "${1}" + Mask},
	{`(?i)\b(tcp-check\s+send(?:-lf|-binary|-binary-lf)?\s+)` + word, "${1}" + Mask},
	{`(?i)\b((?:pre)?setenv\s+["']?[\w.-]*` + secretName + `[\w.-]*["']?\s+)` + word, "${1}" + Mask},
	{`(?i)\b(replace-(?:header|value)\s+` + secretHeader + `\s+)` + word + `\s+` + word, "${1}" + Mask},
	{`(?i)\b((?:(?:set|add|del)-header|hdr|header)\s+` + secretHeader + `\s+)` + word, "${1}" + Mask},
	{`(?i)(\w*hdr\w*\(` + secretHeader + `[^)\n]*\))[^\n]*`, "${1}" + Mask},
	{`(?i)(authorization:)[^\n]*`, "${1}" + Mask},
	{`(?i)\b((?:hmac|jwt_verify|jwt_decrypt\w*|aes_\w+)\()[^)\n]*`, "${1}" + Mask},
	{`(?i)\b(str\()[^)\n]*(\),secure_memcmp)`, "${1}" + Mask + "${2}"},
	{`(?i)([\w.-]*` + secretName + `[\w.-]*(?:=|\\?["']\s*:\s*))` + word, "${1}" + Mask},
	// The scheme and what a client sends with it. An English word after it has no capital, digit or padding.
	{`\b((?i:basic|bearer)\\?[ \t]+)[A-Za-z0-9+/._~-]*[A-Z0-9=][A-Za-z0-9+/._~=-]*`, "${1}" + Mask},
}

//nolint:gosec // they match the names of secrets
const (
	secretName   = `(?:passw|passphrase|secret|token|credential|api[-_]?key|private[-_]?key|auth[-_]?key)`
	secretHeader = `["']?[\w-]*(?:authorization|passw|secret|token|credential|cookie|api-?key|auth-?key)[\w-]*["']?`
)

type masking struct{ pattern, rest string }

var (
	compiledMaskings = compileMaskings()
	literals         = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"`) // as Go and JSON write strings
	// signs are in every text in which something is masked, in small letters.
	signs = []string{
		"passw", "passphrase", "secret", "token", "credential", "key", "auth", "cookie", "ca-sign-pass", "send", "hmac(", "jwt_",
		"aes_", "basic", "bearer", "://", "private",
	}
)

func compileMaskings() []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, m := range maskings {
		all = append(all, regexp.MustCompile(m.pattern))
	}
	return all
}

// maybeSecret is quick to tell that there is nothing to mask.
func maybeSecret(text string) bool {
	lower := strings.ToLower(text)
	return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(lower, sign) })
}

// Masked returns text without the secrets that lines of a configuration have in them: passwords, keys, tokens and credentials,
// with [Mask] in their place. Rather too much is masked than too little.
func Masked(text string) string {
	if !maybeSecret(text) {
		return text
	}
	// What is quoted inside is masked as it was before it was quoted: there may be several layers of that.
	text = literals.ReplaceAllStringFunc(text, maskedLiteral)
	for i, pattern := range compiledMaskings {
		text = pattern.ReplaceAllString(text, maskings[i].rest)
	}
	return text
}

// MaskedJSON does to the strings in JSON what [Masked] does to text.
func MaskedJSON(content []byte) []byte {
	if !maybeSecret(string(content)) {
		return content
	}
	return literals.ReplaceAllFunc(content, func(literal []byte) []byte {
		var text string
		if json.Unmarshal(literal, &text) != nil {
			return literal
		}
		masked := Masked(text)
		if masked == text {
			return literal
		}
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(masked) // a string can always be encoded
		return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	})
}

// MaskedLine does to a line of a log what [Masked] does to text: the values in it are quoted as Go quotes strings.
func MaskedLine(line string) string {
	if !maybeSecret(line) {
		return line
	}
	var out strings.Builder
	end := 0
	for _, at := range literals.FindAllStringIndex(line, -1) {
		out.WriteString(Masked(line[end:at[0]]))
		out.WriteString(maskedLiteral(line[at[0]:at[1]]))
		end = at[1]
	}
	out.WriteString(Masked(line[end:]))
	return out.String()
}

func maskedLiteral(literal string) string {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return literal
	}
	if masked := Masked(text); masked != text {
		return strconv.Quote(masked)
	}
	return literal
}
