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

// cleanName makes capitals small letters and every other character outside [a-z0-9-] a dash, one for one.
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

// cleanServer makes every character that HAProxy refuses in a server's name a dash.
func cleanServer(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (strings.ContainsRune("-_.", r) || cleanName(string(r)) != "-") {
			return r
		}
		return '-'
	}, name)
}

// distinct returns what clean makes of each of the names, which are all different, with a hash of the name added
// wherever two would become one. It depends on the names and nothing else.
func distinct(names []string, clean func(string) string) map[string]string {
	hashed := map[string]bool{}
	for digits := 8; ; {
		made := map[string]string{}
		makers := map[string][]string{}
		for _, name := range names {
			made[name] = clean(name)
			if hashed[name] {
				made[name] += "-" + hash(name)[:digits]
			}
			makers[made[name]] = append(makers[made[name]], name)
		}
		clash := false
		grew := false
		for _, same := range makers {
			if len(same) < 2 {
				continue
			}
			clash = true
			// A name with a hash may be what a third one becomes by itself: then that one gets a hash as well.
			for _, name := range same {
				grew = grew || !hashed[name]
				hashed[name] = true
			}
		}
		switch {
		case !clash:
			return made
		case !grew:
			digits = min(2*digits, sha256.Size*2)
		}
	}
}

// sanitizeName is sanitizeName. It works for names that are not a service's, too; those may then become what another name
// becomes.
func (v *view) sanitizeName(name string) string {
	if clean, ok := v.clean[name]; ok {
		return clean
	}
	return cleanName(name)
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// A server is what tells the instances of a service apart.
type server struct{ hostname, id string }

// text returns both parts in a form that is different for different servers; the last part of it is what people read.
func (s server) text() string { return s.hostname + "\x00" + s.id }

// serverName returns a name for the instance that HAProxy accepts and that no other instance of the service has.
func (v *view) serverName(inst sdk.Instance) string {
	key := server{inst.Hostname, inst.ID}
	names, ok := v.servers[inst.Name]
	if !ok {
		names = serverNames(v.all[inst.Name])
		v.servers[inst.Name] = names
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
