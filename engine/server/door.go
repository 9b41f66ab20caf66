package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// DoorConfig says who may come in. Its zero value lets everybody in over plain HTTP, apart from browsers.
type DoorConfig struct {
	Token       string         // what changes something has to present it; "" asks for none
	AllowFrom   []netip.Prefix // from where something may be changed; empty means from everywhere
	TLSCert     string         // the file of the certificate; "" serves plain HTTP
	TLSKey      string         // the file of its key
	ClientCA    string         // what changes something needs a certificate of these authorities; only with TLSCert
	CORSOrigins []string       // which other origins' pages may read; "*" for all

	AllowedHosts []string // names under which the daemon answers, beside addresses and names without a dot; "*.example.com", "*"
	ProtectReads bool     // reading needs Token or a certificate of ClientCA too, but for probes

	Log *slog.Logger // is told who was refused
}

// A Door decides which requests reach a [Server]. Reading is open to everybody unless ProtectReads is set, as probes and
// Prometheus have no secrets. What changes something, which is every method but GET, HEAD and OPTIONS, has to satisfy all that is
// configured. It is safe for concurrent use.
type Door struct {
	token     [sha256.Size]byte // of the token; see demandsToken
	allowFrom []netip.Prefix
	origins   []string
	hosts     hostPolicy
	tls       *certificates // nil for plain HTTP
	foreign   *http.CrossOriginProtection
	refusals  *notebook

	demandsToken bool
	protectReads bool
}

// NewDoor reads the files that cfg names and returns all that is wrong with them, a sentence for each with its key. They are read
// again when they change; then what is wrong is logged and what was read before stays in force.
func NewDoor(cfg DoorConfig) (*Door, error) {
	d := &Door{
		token: sha256.Sum256([]byte(cfg.Token)), demandsToken: cfg.Token != "",
		foreign: http.NewCrossOriginProtection(), refusals: newNotebook(cfg.Log),
		hosts: newHostPolicy(cfg.AllowedHosts), protectReads: cfg.ProtectReads,
	}
	for _, network := range cfg.AllowFrom {
		d.allowFrom = append(d.allowFrom, plainPrefix(network))
	}
	for _, origin := range cfg.CORSOrigins {
		d.origins = append(d.origins, strings.ToLower(origin)) // as browsers write them
	}
	if cfg.TLSCert == "" {
		return d, nil
	}
	var err error
	d.tls, err = openCertificates(cfg)
	return d, err
}

// plainPrefix writes the IPv4 networks in IPv6's clothes as what they are, which is how peers are compared with them.
func plainPrefix(p netip.Prefix) netip.Prefix {
	const mapped = 96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

// A refusal says why a request does not come in.
type refusal struct {
	code     int
	kind     string // for the log
	sentence string
}

// admit reports whether the request may go on. If not, it is answered already.
func (d *Door) admit(w http.ResponseWriter, r *http.Request) bool {
	speaksRight := d.tls == nil || r.TLS != nil
	if reads(r.Method) && speaksRight && !d.share(w, r) {
		return false
	}
	why := d.refusal(r)
	if why == nil {
		return true
	}
	d.refusals.note(r, why.kind)
	if why.code == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="haproxy-api"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="haproxy-api", charset="UTF-8"`)
	}
	// Whoever is refused keeps no connection, and nobody reads what is left of the body.
	w.Header().Set("Connection", "close")
	answerErrors(w, why.code, why.sentence)
	return false
}

// reads reports whether a request of that method changes nothing.
func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// refusal returns why a request may not come in, or nil. It does not touch the body.
func (d *Door) refusal(r *http.Request) *refusal {
	switch {
	case d.tls != nil && r.TLS == nil:
		return &refusal{http.StatusForbidden, "no TLS",
			"this connection is from before TLS was switched on: open another one with https"}
	case reads(r.Method):
		return d.refusalToRead(r)
	case isPush(r) && fromBrowser(r):
		// Not even from our own origin: DNS rebinding makes any page look like one of ours.
		return &refusal{http.StatusForbidden, "a browser", "browsers may not push: a catalogue does"}
	case d.foreign.Check(r) != nil:
		return &refusal{http.StatusForbidden, "another origin", "pages of other origins may not change anything"}
	case fromBrowser(r) && !d.answersTo(r):
		return refuseHost
	case !d.allows(r.RemoteAddr):
		return &refusal{http.StatusForbidden, "an address outside allow_from",
			"nothing may be changed from this address: haproxy_api.allow_from does not have it"}
	case d.tls != nil && !d.tls.trusts(r.TLS):
		return &refusal{http.StatusForbidden, "no client certificate",
			"a client certificate of an authority in haproxy_api.client_ca is needed to change anything"}
	case d.demandsToken && !d.knows(r):
		return &refusal{http.StatusUnauthorized, "no token or a wrong one",
			"the token is missing or wrong: send it as a bearer token, or with basic authentication"}
	}
	return nil
}

// refusalToRead is refusal for what changes nothing. Programs may read without a secret unless reads are protected. A browser may
// be asked to read by any page, under any name that leads here: it does not send an Origin where the page's name is the daemon's.
func (d *Door) refusalToRead(r *http.Request) *refusal {
	switch {
	case isProbe(r):
		return nil
	case d.identified(r):
		return nil
	case d.protectReads:
		return &refusal{http.StatusUnauthorized, "no token or client certificate",
			"reading needs the token or a client certificate: send the token as a bearer token or with basic authentication"}
	case !d.answersTo(r):
		return refuseHost
	case fromOtherOrigin(r) && !d.shares(r.Header.Get("Origin")):
		return &refusal{http.StatusForbidden, "another origin",
			"pages of this origin may not read: haproxy_api.cors_origins does not have it"}
	}
	return nil
}

var refuseHost = &refusal{http.StatusForbidden, "a host name outside allowed_hosts",
	"this host name is not known: add it to haproxy_api.allowed_hosts, or use an address"}

// answersTo reports whether the request asks for a name of this daemon. Over TLS the client has compared the name already.
func (d *Door) answersTo(r *http.Request) bool { return r.TLS != nil || d.hosts.allows(r.Host) }

// identified reports whether the client has presented the token, or a certificate that client_ca asks for.
func (d *Door) identified(r *http.Request) bool {
	return d.demandsToken && d.knows(r) || d.tls != nil && d.tls.identifies(r.TLS)
}

func isPush(r *http.Request) bool { return slices.Contains(pushPaths, r.URL.Path) }

// fromBrowser goes by the headers that every browser sends with a POST and no page can leave out.
func fromBrowser(r *http.Request) bool {
	return len(r.Header["Origin"]) > 0 || len(r.Header["Sec-Fetch-Site"]) > 0
}

// allows goes by the connection alone: what headers such as X-Forwarded-For say, anybody can say.
func (d *Door) allows(peer string) bool {
	if len(d.allowFrom) == 0 {
		return true
	}
	addr, ok := addressOf(peer)
	return ok && slices.ContainsFunc(d.allowFrom, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// addressOf returns the address in a peer's host:port: an IPv4 one as such, and without a zone.
func addressOf(peer string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(peer)
	return at.Addr().Unmap().WithZone(""), err == nil
}

// knows compares hashes, so that the time it takes tells nothing, not even of the token's length.
func (d *Door) knows(r *http.Request) bool {
	sum := sha256.Sum256([]byte(presented(r)))
	return subtle.ConstantTimeCompare(sum[:], d.token[:]) == 1
}

// presented returns the bearer token, or the password of basic authentication with any user.
func presented(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// shares reports whether pages of the origin may read.
func (d *Door) shares(origin string) bool {
	return slices.Contains(d.origins, "*") || slices.Contains(d.origins, origin)
}

// share lets pages of the origins in cors_origins read. It reports whether the request may go on: what a browser asks beforehand
// is answered here.
func (d *Door) share(w http.ResponseWriter, r *http.Request) bool {
	if len(d.origins) == 0 {
		return true
	}
	origin := r.Header.Get("Origin")
	if slices.Contains(d.origins, "*") {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	} else {
		w.Header().Add("Vary", "Origin")
		if !slices.Contains(d.origins, origin) {
			return true
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return true
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
	if d.protectReads {
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
	}
	w.WriteHeader(http.StatusNoContent)
	return false
}
