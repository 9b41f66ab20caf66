package engine

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Mask replaces secrets in logs and responses.
const Mask = "***"

// word matches a word of HAProxy's configuration, also if it is truncated or part of a quoted message.
const word = `(?:\\"[^"\n]*"|"(?:[^"\\\n]|\\[^\n])*"?|'[^'\n]*'?|\\[^\n]|[^\s"'\\])+`

// privateKey matches a private key in PEM format, also if it is truncated. It is the only secret that has several lines.
var privateKey = regexp.MustCompile(`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)

const maskedKey = "${1}" + Mask + "${2}"

// maskings match secrets within a line. Their groups are kept. The HAProxy keywords are those that take a secret itself rather
// than the name of a file.
var maskings = compileMaskings([]masking{
	{"://", `([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s"']*@`, "${1}" + Mask + "@"}, // a password may contain @
	{"key= auth= sig= signature= pass= pw=", `(?i)([?&](?:key|auth|sig|signature|pass|pw)=)[^&#\s"'\\]+`, "${1}" + Mask},
	{"passw", `(?i)\b(user\s+)` + word + `(\s+(?:insecure-)?password\s+)` + word, "${1}" + Mask + "${2}" + Mask},
	{"stats passw cluster-secret cookie-key sign-pass",
		`(?i)\b((?:stats\s+auth|(?:insecure-)?password|cluster-secret|dynamic-cookie-key|ca-sign-pass)\s+(?:=\s*)?)` + word,
		"${1}" + Mask},
	{"tcp-check", `(?i)\b(tcp-check\s+send(?:-lf|-binary|-binary-lf)?\s+)` + word, "${1}" + Mask},
	{"setenv", `(?i)\b((?:pre)?setenv\s+["']?[\w.-]*(?:key|auth|` + secretName + `)[\w.-]*["']?\s+)` + word, "${1}" + Mask},
	{"set-var-fmt", `(?i)\b(set-var-fmt\([^)\n]*` + secretName + `[^)\n]*\)\s+)` + word, "${1}" + Mask},
	{"str(", `(?i)\b(set[- ]var(?:\(|\s+)[^)\s]*` + secretName + `[^)\s]*\)?\s+str\()[^)\n]*`, "${1}" + Mask},
	{"replace-", `(?i)\b(replace-(?:header|value)\s+` + secretHeader + `\s+)` + word + `\s+` + word, "${1}" + Mask},
	{"header hdr", `(?i)\b((?:\w*header|hdr)\s+` + secretHeader + `\s+)` + word, "${1}" + Mask},
	// What samples of a request are compared with.
	{"hdr cook( cook_ param( param_ urlp",
		`(?i)(\w*(?:hdr|cook|param|urlp)\w*\(` + secretHeader + `[^)\n]*\))[^\n]*`, "${1}" + Mask},
	{"http_auth_", `(?i)(\bhttp_auth_(?:bearer|pass)\S*\s)[^\n]*`, "${1}" + Mask},
	{"authorization: cookie:", `(?i)((?:authorization|cookie):)[^\n]*`, "${1}" + Mask},
	{"x-", `(?i)((?:\b|\\n)x-[\w-]*(?:key|auth|` + secretName + `)[\w-]*:\\*[ \t]*)` + word, "${1}" + Mask},
	{"hmac( jwt_ aes_", `(?i)\b((?:hmac|jwt_verify|jwt_decrypt\w*|aes_\w+)\()[^)\n]*`, "${1}" + Mask},
	{"secure_memcmp", `(?i)\b(str\()[^)\n]*(\),secure_memcmp)`, "${1}" + Mask + "${2}"},
	{secretHints, `(?i)^([ \t+-]*["']?[\w-]*` + secretName + `[\w-]*["']?[ \t]*:[ \t]+)[^\s][^\n]*`, "${1}" + Mask}, // YAML
	{secretHints,
		`(?i)([\w.-]*` + secretName + `[\w.-]*(?:[ \t]*=[ \t]*|\\?["']\s*:\s*))` + word, "${1}" + Mask},
	// The scheme of an Authorization header and its credentials. They have a capital letter, a digit or padding, unlike an
	// English word after "basic" or "bearer".
	{"basic bearer", `\b((?i:basic|bearer)\\?[ \t]+)[A-Za-z0-9+/._~-]*[A-Z0-9=][A-Za-z0-9+/._~=-]*`, "${1}" + Mask},
})

//nolint:gosec // these match the names of secrets
const (
	secretName  = `(?:passw|passphrase|pwd|secret|token|credential|api[-_]?key|private[-_]?key|auth[-_]?key|access[-_]?key)`
	secretHints = "passw passphrase pwd secret token credential apikey api-key api_key privatekey private-key private_key " +
		"authkey auth-key auth_key accesskey access-key access_key"
	secretHeader = `["']?[\w-]*(?:auth|passw|pwd|secret|token|credential|cookie|(?:api|access)[-_]?key)[\w-]*["']?`
)

// A masking says how to mask one kind of secret.
type masking struct {
	hints       string // with spaces; a line in lower case with such a secret has at least one of them
	pattern     string
	replacement string
}

type compiledMasking struct {
	masking
	hints  []string
	regexp *regexp.Regexp
}

func compileMaskings(all []masking) []compiledMasking {
	var compiled []compiledMasking
	for _, m := range all {
		compiled = append(compiled, compiledMasking{m, strings.Fields(m.hints), regexp.MustCompile(m.pattern)})
	}
	return compiled
}

var (
	literals = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"`) // strings of Go and JSON
	// hints are lower-case strings; every text with a secret that is masked contains one of them.
	hints = []string{
		"passw", "passphrase", "secret", "token", "credential", "key", "auth", "cookie", "ca-sign-pass", "send", "hmac(", "jwt_",
		"aes_", "basic", "bearer", "://", "private", "pwd", "sig", "pass=", "pw=",
	}
)

// mayHaveSecret returns false, quickly, if there is nothing to mask.
func mayHaveSecret(text string) bool { return containsAny(strings.ToLower(text), hints) }

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// withoutPrivateKeys returns doc without the content of private keys in its files, so that a part of one, which is not
// recognisable, has nothing to mask.
func withoutPrivateKeys(doc sdk.Document) sdk.Document {
	doc.Files = slices.Clone(doc.Files)
	for i, file := range doc.Files {
		if bytes.Contains(file.Content, []byte("PRIVATE KEY-----")) {
			doc.Files[i].Content = privateKey.ReplaceAll(file.Content, []byte(maskedKey))
		}
	}
	return doc
}

// Masked returns text, such as lines of a configuration, with passwords, keys, tokens and credentials replaced by [Mask]. In
// doubt it masks too much. Lines without anything like a secret cost little, so that a large document can be masked.
func Masked(text string) string {
	if !mayHaveSecret(text) {
		return text
	}
	if strings.Contains(text, "-----BEGIN") {
		text = privateKey.ReplaceAllString(text, maskedKey)
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(maskedSingle(line))
	}
	return out.String()
}

// maskedSingle is Masked for a single line.
func maskedSingle(line string) string {
	if !mayHaveSecret(line) {
		return line
	}
	if strings.Contains(line, `"`) {
		// Quoted text is unquoted before it is masked. It may be quoted several times.
		line = literals.ReplaceAllStringFunc(line, maskedLiteral)
	}
	lower := strings.ToLower(line)
	for _, m := range maskings {
		if containsAny(lower, m.hints) {
			line = m.regexp.ReplaceAllString(line, m.replacement)
		}
	}
	return line
}

// MaskedJSON is [Masked] for the strings in JSON.
func MaskedJSON(content []byte) []byte {
	if !mayHaveSecret(string(content)) {
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
		_ = encoder.Encode(masked) // encoding a string cannot fail
		return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	})
}

// MaskedLine is [Masked] for a line of a log, whose values may be quoted as Go strings.
func MaskedLine(line string) string {
	if !mayHaveSecret(line) {
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
