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

// AccessConfig configures an [AccessPolicy]. The zero value authorizes every request over plain HTTP, except those of browsers
// that change something.
type AccessConfig struct {
	Token       string         // requests that change something must present it; "" requires none
	AllowFrom   []netip.Prefix // networks whose clients may change something; empty for all
	TLSCert     string         // the file of the certificate; "" serves plain HTTP
	TLSKey      string         // the file of its key
	ClientCA    string         // requests that change something need a certificate of these authorities; only with TLSCert
	CORSOrigins []string       // other origins whose pages may read; "*" for all

	// AllowedHosts are the host names of the daemon, such as "edge.example.com" and "*.example.com"; "*" allows any. Addresses
	// and names without dots are always allowed.
	AllowedHosts []string
	ProtectReads bool // reads other than probes require Token or a certificate of ClientCA

	Log *slog.Logger // receives denied requests; nil discards them
}

// An AccessPolicy decides which requests a [Server] serves. Reads need no credentials unless ProtectReads is set, because probes
// and Prometheus have none. A request that changes something, which is one with any method but GET, HEAD and OPTIONS, must
// satisfy everything that is configured. It is safe for concurrent use.
type AccessPolicy struct {
	tokenHash   [sha256.Size]byte // see hasToken
	allowFrom   []netip.Prefix
	origins     []string
	hosts       hostPolicy
	tls         *certificates // nil for plain HTTP
	crossOrigin *http.CrossOriginProtection
	denials     denialLog

	needsToken   bool
	protectReads bool
}

// NewAccessPolicy reads the files that cfg names. The error joins the faults of all files, each with its configuration key. The
// files are read again when they change; if they are invalid then, that is logged, and the previous contents remain in use.
func NewAccessPolicy(cfg AccessConfig) (*AccessPolicy, error) {
	p := &AccessPolicy{
		tokenHash: sha256.Sum256([]byte(cfg.Token)), needsToken: cfg.Token != "",
		crossOrigin: http.NewCrossOriginProtection(), denials: newDenialLog(cfg.Log),
		hosts: newHostPolicy(cfg.AllowedHosts), protectReads: cfg.ProtectReads,
	}
	for _, network := range cfg.AllowFrom {
		p.allowFrom = append(p.allowFrom, unmapPrefix(network))
	}
	for _, origin := range cfg.CORSOrigins {
		p.origins = append(p.origins, strings.ToLower(origin)) // as browsers write them
	}
	if cfg.TLSCert == "" {
		return p, nil
	}
	var err error
	p.tls, err = openCertificates(cfg)
	return p, err
}

// unmapPrefix returns an IPv4-mapped IPv6 network as the IPv4 network, because peers are compared by their unmapped addresses.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	const mapped = 96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

// A denial says why a request is not authorized.
type denial struct {
	code    int
	kind    string // for the log
	message string
}

// authorize reports whether the request is authorized. If not, it writes the response itself; it also answers CORS preflights.
func (p *AccessPolicy) authorize(w http.ResponseWriter, r *http.Request) bool {
	if isRead(r.Method) && !p.lacksTLS(r) && p.handleCORS(w, r) {
		return false
	}
	denied := p.check(r)
	if denied == nil {
		return true
	}
	p.deny(w, r, denied)
	return false
}

// deny writes the response to a request that is not authorized.
func (p *AccessPolicy) deny(w http.ResponseWriter, r *http.Request, denied *denial) {
	p.denials.add(r, denied.kind)
	if denied.code == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="haproxy-api"`)
		if !isFromScript(r) {
			w.Header().Add("WWW-Authenticate", `Basic realm="haproxy-api", charset="UTF-8"`)
		}
	}
	// The connection is closed, so that the rest of the body is not read.
	w.Header().Set("Connection", "close")
	writeErrors(w, denied.code, denied.message)
}

// isRead reports whether a request with that method changes nothing.
func isRead(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// lacksTLS reports whether the request came over a connection that was opened before TLS was enabled.
func (p *AccessPolicy) lacksTLS(r *http.Request) bool { return p.tls != nil && r.TLS == nil }

// check returns why the request is denied, or nil. It does not read the body.
func (p *AccessPolicy) check(r *http.Request) *denial {
	switch {
	case p.lacksTLS(r):
		return &denial{http.StatusForbidden, "no TLS",
			"this connection was opened before TLS was enabled: open another one with https"}
	case isRead(r.Method):
		return p.checkRead(r)
	case isPush(r) && isFromBrowser(r):
		// This includes pages of the daemon's own origin, because DNS rebinding gives any page that origin.
		return &denial{http.StatusForbidden, "a browser", "browsers may not push"}
	case p.crossOrigin.Check(r) != nil:
		return &denial{http.StatusForbidden, "another origin", "cross-origin changes are not allowed"}
	case isFromBrowser(r) && !p.allowsHost(r):
		return unknownHost
	case !p.allowsAddress(r.RemoteAddr):
		return &denial{http.StatusForbidden, "an address outside allow_from",
			"changes are not allowed from this address: it is not in haproxy_api.allow_from"}
	case p.tls != nil && !p.tls.trusts(r.TLS):
		return &denial{http.StatusForbidden, "no client certificate",
			"a client certificate of an authority in haproxy_api.client_ca is needed to change anything"}
	case p.needsToken && !p.hasToken(r):
		return &denial{http.StatusUnauthorized, "no token or a wrong one",
			"missing or wrong token: send it as a bearer token, or with basic authentication"}
	}
	return nil
}

// checkRead is check for requests that change nothing. Programs may read without credentials unless reads are protected. Any page
// can make a browser read under any name that resolves to the daemon; the browser sends no Origin header if that is also the
// page's own name.
func (p *AccessPolicy) checkRead(r *http.Request) *denial {
	switch {
	case isProbe(r):
		return nil
	case p.isAuthenticated(r):
		return nil
	case p.protectReads:
		return &denial{http.StatusUnauthorized, "no token or client certificate",
			"reading needs the token or a client certificate: send the token as a bearer token or with basic authentication"}
	case !p.allowsHost(r):
		return unknownHost
	case isCrossOrigin(r) && !isPageFile(r) && !p.allowsOrigin(r.Header.Get("Origin")):
		return &denial{http.StatusForbidden, "another origin",
			"pages of this origin may not read: it is not in haproxy_api.cors_origins"}
	}
	return nil
}

// isPageFile reports whether the request is for a file of the status page. They are the same in every daemon. Browsers send the
// Origin header with the scripts of a page that comes from there, and behind a reverse proxy it may not match the Host header.
func isPageFile(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/ui/") }

var unknownHost = &denial{http.StatusForbidden, "a host name outside allowed_hosts",
	"this host name is not known: add it to haproxy_api.allowed_hosts, or use an address"}

// authorizeSecrets reports whether a read that [AccessPolicy.authorize] has authorized may also see secrets. If not, it writes
// the response itself. The client must be authenticated, and be in AllowFrom. If neither a token nor a client authority is
// configured, only clients on this machine may. Pages of other origins may not, also not those in CORSOrigins.
func (p *AccessPolicy) authorizeSecrets(w http.ResponseWriter, r *http.Request) bool {
	denied := p.checkSecrets(r)
	if denied == nil {
		return true
	}
	p.deny(w, r, denied)
	return false
}

func (p *AccessPolicy) checkSecrets(r *http.Request) *denial {
	switch {
	case isOtherSite(r):
		return &denial{http.StatusForbidden, "secrets for another origin", "pages of another origin may not read secrets"}
	case isFromBrowser(r) && !p.allowsHost(r):
		return unknownHost
	case !p.allowsAddress(r.RemoteAddr):
		return &denial{http.StatusForbidden, "secrets for an address outside allow_from",
			"secrets are not shown to this address: it is not in haproxy_api.allow_from"}
	case p.isAuthenticated(r):
		return nil
	case p.needsToken || p.tls != nil && p.tls.hasAuthorities():
		return &denial{http.StatusUnauthorized, "secrets without token or client certificate",
			"seeing secrets needs the token or a client certificate: send the token as a bearer token or with basic " +
				"authentication"}
	case !isLocal(r):
		return &denial{http.StatusForbidden, "secrets for another machine",
			"secrets are shown only to this machine as long as neither haproxy_api.update_token nor client_ca is set"}
	}
	return nil
}

// isOtherSite reports whether a page of another origin made a browser send the request.
func isOtherSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return isCrossOrigin(r) || site != "" && site != "same-origin" && site != "none"
}

// isLocal reports whether the request comes from this machine, and not from a proxy on it. A proxy keeps the name that its client
// asked for, or adds a header such as Forwarded, X-Forwarded-For or X-Real-IP.
func isLocal(r *http.Request) bool {
	addr, ok := addressOf(r.RemoteAddr)
	if !ok || !addr.IsLoopback() || !isLoopbackName(r.Host) {
		return false
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "X-Forwarded") || strings.HasSuffix(name, "-Ip") {
			return false
		}
	}
	return true
}

// allowsHost reports whether the request is for an allowed name. Over TLS the client has verified the name.
func (p *AccessPolicy) allowsHost(r *http.Request) bool {
	return r.TLS != nil || p.hosts.allows(r.Host)
}

// isAuthenticated reports whether the client presented the token, or a certificate of an authority in ClientCA.
func (p *AccessPolicy) isAuthenticated(r *http.Request) bool {
	return p.needsToken && p.hasToken(r) || p.tls != nil && p.tls.identifies(r.TLS)
}

// isFromBrowser reports whether a browser sent the request. Every browser sends one of these headers with a POST, and no page can
// remove it.
func isFromBrowser(r *http.Request) bool {
	return len(r.Header["Origin"]) > 0 || len(r.Header["Sec-Fetch-Site"]) > 0
}

// isFromScript reports whether a script in a page sent the request, such as that of the status page, which asks for the token
// itself. A Basic challenge would make the browser ask too.
func isFromScript(r *http.Request) bool { return r.Header.Get("X-Requested-With") == "XMLHttpRequest" }

// allowsAddress reports whether the peer may change something. It uses only the address of the connection, because any client can
// send headers such as X-Forwarded-For.
func (p *AccessPolicy) allowsAddress(peer string) bool {
	if len(p.allowFrom) == 0 {
		return true
	}
	addr, ok := addressOf(peer)
	return ok && slices.ContainsFunc(p.allowFrom, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// addressOf returns the address of a peer that is given as host:port. The address has no zone, and an IPv4-mapped address is
// returned as IPv4.
func addressOf(peer string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(peer)
	return at.Addr().Unmap().WithZone(""), err == nil
}

// hasToken compares hashes, so that its duration reveals neither the token nor its length.
func (p *AccessPolicy) hasToken(r *http.Request) bool {
	sum := sha256.Sum256([]byte(tokenOf(r)))
	return subtle.ConstantTimeCompare(sum[:], p.tokenHash[:]) == 1
}

// tokenOf returns the bearer token, or the password of basic authentication with any user.
func tokenOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// allowsOrigin reports whether pages of the origin may read.
func (p *AccessPolicy) allowsOrigin(origin string) bool {
	return slices.Contains(p.origins, "*") || slices.Contains(p.origins, origin)
}

// handleCORS sets the headers that let pages of the origins in CORSOrigins read. If the request is a preflight
// request, it answers it and returns true.
func (p *AccessPolicy) handleCORS(w http.ResponseWriter, r *http.Request) bool {
	if len(p.origins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if slices.Contains(p.origins, "*") {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	} else {
		w.Header().Add("Vary", "Origin")
		if !slices.Contains(p.origins, origin) {
			return false
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
	if p.protectReads {
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
