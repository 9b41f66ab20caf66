package config

import (
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A scalar is a key with a single value or a list of strings.
type scalar struct {
	of   valueType
	want string           // completes "must be …"
	all  []string         // every valid value, if they can be listed
	set  func(v any) bool // stores v if it is valid, and reports whether it is
	use  PathUse          // of the path that the value is, or 0
}

// A valueType is what a value is in TOML, YAML and JSON.
type valueType struct {
	name     string // for the reference
	anyValue string // completes "must be …" for a key that has no further conditions; "" if each key of the type has some
	parse    func(text string) any
}

var (
	stringType  = valueType{"string", "a string", parseString}
	booleanType = valueType{"boolean", "true or false", parseBool}
	integerType = valueType{"whole number", "", parseNumber}
	numberType  = valueType{"number", "", parseNumber}
	sizeType    = valueType{"whole number or string", "", parseNumber}
	listType    = valueType{"list of strings", "", parseList}
)

func (s scalar) decode(at path, v any, to *collector) {
	if !s.set(v) {
		to.mismatch(at, s.want, v)
	}
}

func (s scalar) child(string) kind     { return nil }
func (s scalar) parse(text string) any { return s.of.parse(text) }

// newScalar returns a scalar whose values convert accepts.
func newScalar[T any](into *T, want string, of valueType, convert func(v any) (T, bool)) scalar {
	return scalar{of: of, want: want, set: func(v any) bool {
		converted, ok := convert(v)
		if ok {
			*into = converted
		}
		return ok
	}}
}

// stringLike is a string that valid accepts.
func stringLike(into *string, want string, valid func(string) bool) scalar {
	return newScalar(into, want, stringType, func(v any) (string, bool) {
		s, ok := v.(string)
		return s, ok && valid(s)
	})
}

func anyString(into *string) scalar {
	return stringLike(into, stringType.anyValue, func(string) bool { return true })
}

// used returns s as a path with that use.
func (s scalar) used(use PathUse) scalar {
	s.use = use
	return s
}

// readPath is the path of a file or a directory that is read, or empty.
func readPath(into *string) scalar { return anyString(into).used(ReadsFile) }

// writePath is the path of a file that is written.
func writePath(into *string) scalar {
	return stringLike(into, "the path of a file", notEmpty).used(WritesFile)
}

// writeDirectory is the path of a directory that files are written to, or empty.
func writeDirectory(into *string) scalar { return anyString(into).used(WritesDirectory) }

// readProgram is the name or the path of a program that is run.
func readProgram(into *string) scalar {
	return stringLike(into, "the name or path of a program", notEmpty).used(ReadsProgram)
}

func notEmpty(s string) bool { return s != "" }

// word is a string that becomes a single word of an HAProxy configuration or part of a network address.
func word(into *string, want string) scalar {
	return stringLike(into, want, func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"'#\`, r)
		})
	})
}

func oneOf(into *string, choices ...string) scalar {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(c)
	}
	s := stringLike(into, strings.Join(quoted, " or "), func(s string) bool { return slices.Contains(choices, s) })
	s.all = choices
	return s
}

func integer(into *int, least, most int64, want string) scalar {
	return newScalar(into, want, integerType, func(v any) (int, bool) {
		n, ok := v.(int64)
		return int(n), ok && n >= least && n <= most
	})
}

func port(into *int) scalar {
	return integer(into, 0, math.MaxUint16, "a port from 1 to 65535, or 0 for any free port")
}

func fraction(into *float64) scalar {
	return newScalar(into, "a number from 0 to 1, such as 0.5", numberType, func(v any) (float64, bool) {
		if n, ok := v.(int64); ok {
			v = float64(n)
		}
		x, ok := v.(float64)
		return x, ok && x >= 0 && x <= 1
	})
}

func boolean(into *bool) scalar {
	return newScalar(into, booleanType.anyValue, booleanType, func(v any) (bool, bool) {
		b, ok := v.(bool)
		return b, ok
	})
}

// duration does not accept a bare number, because it has no unit.
func duration(into *time.Duration) scalar {
	return newScalar(into, `a duration such as "30s", "5m" or "0s"`, stringType, func(v any) (time.Duration, bool) {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		return d, err == nil && d >= 0
	})
}

func size(into *int64) scalar {
	return newScalar(into, `a number of bytes, at least 1, or a string such as "64MiB"`, sizeType, func(v any) (int64, bool) {
		n, ok := v.(int64)
		if s, isString := v.(string); isString {
			n, ok = parseSize(s)
		}
		return n, ok && n > 0
	})
}

var sizePattern = regexp.MustCompile(`^([0-9]+) ?(|B|kB|KB|MB|GB|KiB|MiB|GiB)$`)

func parseSize(text string) (int64, bool) {
	parts := sizePattern.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	unit := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[parts[2]]
	n, err := strconv.ParseInt(parts[1], 10, 64)
	return n * unit, err == nil && n <= math.MaxInt64/unit
}

// logLevels also has the names of haproxy-api 0.9, which had more levels.
var logLevels = map[string]slog.Level{
	"trace": slog.LevelDebug - 4, "debug": slog.LevelDebug, "info": slog.LevelInfo, "": slog.LevelInfo,
	"warn": slog.LevelWarn, "warning": slog.LevelWarn,
	"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
}

func logLevel(into *slog.Level) scalar {
	return newScalar(into, "debug, info, warn or error", stringType, func(v any) (slog.Level, bool) {
		s, ok := v.(string)
		level, known := logLevels[strings.ToLower(s)]
		return level, ok && known
	})
}

// hostPort is an address with a host and a port, or empty.
func hostPort(into *string) scalar {
	return stringLike(into, `an address such as "sidecar.example.com:7777"`, func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		n, portErr := strconv.ParseUint(port, 10, 16)
		return s == "" || err == nil && portErr == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@ \t\r\n")
	})
}

// httpURL is a URL of scheme http or https, or empty.
func httpURL(into *string, example string) scalar {
	return stringLike(into, "a URL such as "+strconv.Quote(example), func(s string) bool {
		u, err := url.Parse(s)
		return s == "" || err == nil && isHTTP(u)
	})
}

func isHTTP(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return s == "*" || err == nil && isHTTP(u) && s == u.Scheme+"://"+u.Host
}

// hostPattern matches host names without a port. A leading "*." matches one or more labels.
var hostPattern = regexp.MustCompile(`^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)$`)

var sha256Pattern = regexp.MustCompile(`^([0-9a-fA-F]{64})?$`)

// stringList is a list of strings that valid accepts.
func stringList(into *[]string, want string, valid func(string) bool) scalar {
	return newScalar(into, want, listType, func(v any) ([]string, bool) {
		items, ok := v.([]any)
		list := make([]string, 0, len(items))
		for _, item := range items {
			s, isString := item.(string)
			ok = ok && isString && valid(s)
			list = append(list, s)
		}
		return list, ok
	})
}

// readPatterns are patterns of files that are read.
func readPatterns(into *[]string) scalar {
	return stringList(into, `a list of file patterns such as ["/etc/haproxy/certs/*.pem"]`, func(pattern string) bool {
		_, err := filepath.Match(pattern, "")
		return pattern != "" && err == nil
	}).used(ReadsPattern)
}

// delimiters are the two delimiters of a template's actions.
func delimiters(into *[]string) scalar {
	s := stringList(into, `two strings that are not empty, such as ["{{", "}}"]`, notEmpty)
	set := s.set
	s.set = func(v any) bool {
		items, _ := v.([]any)
		return len(items) == 2 && set(v)
	}
	return s
}

// networks is a list of networks and addresses of single hosts.
func networks(into *[]netip.Prefix) scalar {
	const want = `a list of networks such as ["10.0.0.0/8", "::1"]`
	return newScalar(into, want, listType, func(v any) ([]netip.Prefix, bool) {
		items, ok := v.([]any)
		var prefixes []netip.Prefix
		for _, item := range items {
			s, _ := item.(string)
			prefix, valid := parseNetwork(s)
			ok = ok && valid
			prefixes = append(prefixes, prefix)
		}
		return prefixes, ok
	})
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), true
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}
