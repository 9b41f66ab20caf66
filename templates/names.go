package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// cleanName returns name in lower case, with a dash for each character other than a letter of ASCII, a digit or a dash.
func cleanName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
}

// cleanServer returns name with a dash for each character that HAProxy rejects in the name of a server.
func cleanServer(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (strings.ContainsRune("-_.", r) || cleanName(string(r)) != "-") {
			return r
		}
		return '-'
	}, name)
}

// distinct returns the result of clean for each of the names, which are all different, and appends a hash of the name where two
// results would be the same. It depends on nothing but the names.
func distinct(names []string, clean func(string) string) map[string]string {
	hashed := map[string]bool{}
	for digits := 8; ; {
		results := map[string]string{}
		sources := map[string][]string{}
		for _, name := range names {
			results[name] = clean(name)
			if hashed[name] {
				results[name] += "-" + hash(name)[:digits]
			}
			sources[results[name]] = append(sources[results[name]], name)
		}
		clash := false
		moreHashed := false
		for _, same := range sources {
			if len(same) < 2 {
				continue
			}
			clash = true
			// A name with a hash may be the result for a third one without a hash, which then gets one as well.
			for _, name := range same {
				moreHashed = moreHashed || !hashed[name]
				hashed[name] = true
			}
		}
		switch {
		case !clash:
			return results
		case !moreHashed:
			digits = min(2*digits, sha256.Size*2)
		}
	}
}

// sanitizeName is the function of that name. For a name that is no service, the result may be that of another name.
func (s *services) sanitizeName(name string) string {
	if clean, ok := s.sanitized[name]; ok {
		return clean
	}
	return cleanName(name)
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// A server identifies an instance of a service.
type server struct{ hostname, id string }

// text returns a text that differs for different servers. cleanServer makes a readable name of it.
func (s server) text() string { return s.hostname + "\x00" + s.id }

// serverName is the function of that name: it returns a name that HAProxy accepts and no other instance of the service has.
func (s *services) serverName(inst sdk.Instance) string {
	key := server{inst.Hostname, inst.ID}
	names, ok := s.servers[inst.Name]
	if !ok {
		names = serverNames(s.all[inst.Name])
		s.servers[inst.Name] = names
	}
	if name, ok := names[key]; ok {
		return name
	}
	return cleanServer(inst.Hostname + "-" + inst.ID)
}

func serverNames(instances []sdk.Instance) map[server]string {
	servers := map[string]server{}
	for _, inst := range instances {
		s := server{inst.Hostname, inst.ID}
		servers[s.text()] = s
	}
	texts := slices.Sorted(maps.Keys(servers))
	names := map[server]string{}
	for text, name := range distinct(texts, cleanServer) {
		names[servers[text]] = name
	}
	return names
}
