package config

import (
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A leaf is a key with a single value or a list.
type leaf struct {
	want  string           // completes "must be …"
	set   func(v any) bool // false: not that, and nothing is set
	parse func(text string) any
}

func (l leaf) read(at path, v any, to *collector) {
	if !l.set(v) {
		to.mismatch(at, l.want, v)
	}
}

func (l leaf) below(string) kind { return nil }

func (l leaf) fromText(text string) any { return l.parse(text) }

// like is a string for which valid holds.
func like(into *string, want string, valid func(string) bool) leaf {
	return leaf{want: want, parse: asIs, set: func(v any) bool {
		s, ok := v.(string)
		if ok = ok && valid(s); ok {
			*into = s
		}
		return ok
	}}
}

func text(into *string) leaf {
	return like(into, "a text", func(string) bool { return true })
}

func usableText(into *string) leaf { return like(into, usable, usableName) }

// word is a string that ends up inside one line of a configuration or in a network address.
func word(into *string, want string) leaf {
	return like(into, want, func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"'#\`, r)
		})
	})
}

func oneOf(into *string, choices ...string) leaf {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(c)
	}
	return like(into, strings.Join(quoted, " or "), func(s string) bool { return slices.Contains(choices, s) })
}

func number(into *int, least, most int64, want string) leaf {
	return leaf{want: want, parse: asNumber, set: func(v any) bool {
		n, ok := v.(int64)
		if ok = ok && n >= least && n <= most; ok {
			*into = int(n)
		}
		return ok
	}}
}

func port(into *int) leaf {
	return number(into, 0, math.MaxUint16, "a port from 1 to 65535, or 0 for any free one")
}

func fraction(into *float64) leaf {
	return leaf{want: "a share from 0 to 1, such as 0.5", parse: asNumber, set: func(v any) bool {
		if n, ok := v.(int64); ok {
			v = float64(n)
		}
		x, ok := v.(float64)
		if ok = ok && x >= 0 && x <= 1; ok {
			*into = x
		}
		return ok
	}}
}

func yesNo(into *bool) leaf {
	return leaf{want: "true or false", parse: asBool, set: func(v any) bool {
		b, ok := v.(bool)
		if ok {
			*into = b
		}
		return ok
	}}
}

// span is a length of time. A bare number has no unit, so it is refused.
func span(into *time.Duration) leaf {
	return leaf{want: `a length of time such as "30s", "5m" or "0s"`, parse: asIs, set: func(v any) bool {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if ok := err == nil && d >= 0; !ok {
			return false
		}
		*into = d
		return true
	}}
}

func size(into *int64) leaf {
	return leaf{want: `a number of bytes from 1 on, or a text such as "64MiB"`, parse: asNumber, set: func(v any) bool {
		n, ok := v.(int64)
		if s, isText := v.(string); isText {
			n, ok = bytesOf(s)
		}
		if ok = ok && n > 0; ok {
			*into = n
		}
		return ok
	}}
}

var sizePattern = regexp.MustCompile(`^([0-9]+) ?(|B|kB|KB|MB|GB|KiB|MiB|GiB)$`)

func bytesOf(text string) (int64, bool) {
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

// level also takes the names of the older haproxy-api's logger, which had more of them.
func level(into *slog.Level) leaf {
	levels := map[string]slog.Level{
		"trace": slog.LevelDebug - 4, "debug": slog.LevelDebug, "info": slog.LevelInfo, "": slog.LevelInfo,
		"warn": slog.LevelWarn, "warning": slog.LevelWarn,
		"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
	}
	return leaf{want: "debug, info, warn or error", parse: asIs, set: func(v any) bool {
		s, ok := v.(string)
		l, known := levels[strings.ToLower(s)]
		if ok = ok && known; ok {
			*into = l
		}
		return ok
	}}
}

// address is host:port.
func address(into *string) leaf {
	return like(into, `an address such as "sidecar.example.com:7777"`, func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		n, portErr := strconv.ParseUint(port, 10, 16)
		return s == "" || err == nil && portErr == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@ \t\r\n")
	})
}

func webAddress(into *string) leaf {
	return like(into, `an address such as "http://localhost:7777/state.json"`, func(s string) bool {
		u, err := url.Parse(s)
		return s == "" || err == nil && isWeb(u)
	})
}

func isWeb(u *url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" }

func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return s == "*" || err == nil && isWeb(u) && s == u.Scheme+"://"+u.Host
}

var hostPattern = regexp.MustCompile(`^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)$`)

// isHostPattern takes host names without a port; a first part of "*" stands for one or more parts.
func isHostPattern(s string) bool { return hostPattern.MatchString(s) }

func sha256Sum(into *string) leaf {
	hex := regexp.MustCompile(`^([0-9a-fA-F]{64})?$`)
	return like(into, "a SHA-256 of 64 hexadecimal digits", hex.MatchString)
}

// list is a list of strings for each of which valid holds.
func list(into *[]string, want string, valid func(string) bool) leaf {
	return leaf{want: want, parse: asList, set: func(v any) bool {
		items, ok := v.([]any)
		parsed := make([]string, 0, len(items))
		for _, item := range items {
			s, isText := item.(string)
			ok = ok && isText && valid(s)
			parsed = append(parsed, s)
		}
		if ok {
			*into = parsed
		}
		return ok
	}}
}

func notEmpty(s string) bool { return s != "" }

// networks also takes the address of a single host.
func networks(into *[]netip.Prefix) leaf {
	var texts []string
	l := list(&texts, `a list of networks such as ["10.0.0.0/8", "::1"]`, func(s string) bool {
		_, ok := network(s)
		return ok
	})
	valid := l.set
	l.set = func(v any) bool {
		if !valid(v) {
			return false
		}
		*into = nil
		for _, s := range texts {
			prefix, _ := network(s)
			*into = append(*into, prefix)
		}
		return true
	}
	return l
}

func network(s string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), true
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

// pair is a list of two.
func pair(into *[]string, want string) leaf {
	l := list(into, want, notEmpty)
	valid := l.set
	l.set = func(v any) bool {
		items, _ := v.([]any)
		return len(items) == 2 && valid(v)
	}
	return l
}
