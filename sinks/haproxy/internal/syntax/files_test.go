package syntax

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pathsOf(files []File) []string {
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	return paths
}

func TestFiles_NamesWhatHAProxyReads(t *testing.T) {
	const config = `global
    crt-base /crt
    ca-base "/c a"
    ssl-dh-param-file dh.pem
    issuers-chain-path /issuers
    setenv HERE /set
    lua-prepend-path /lua/?.lua;other/?.lua
    lua-prepend-path /lib/?.so cpath
    lua-load /lua/main.lua argument
    51degrees-data-file /geo/51.dat
defaults
    errorfile 503 /errors/503.http
crt-store shop
    crt-base /shop
    key-base /keys
    load crt a.pem key a.key ocsp a.ocsp alias a
frontend f
    bind :443 ssl crt a.pem crt /b.pem crt @shop/a ca-file ca.pem ca-verify-file /v.pem crl-file crl.pem tls-ticket-keys /t
    bind :444 ssl crt-list list
    acl bad src -f /nets -f "more nets"
    acl agent req.hdr(user-agent) -m sub -i -f virt@agents
    use_backend %[req.hdr(host),lower,map(/hosts.map,none)]
    http-request set-map(/only-set.map) %[src] 1
    http-request set-header X "%[src,map_ip_int('/geo.map')]"
    http-request deny if { http_auth_bearer,jwt_verify(txn.alg,"/jwt.pem") -m int 1 }
    http-request return status 200 content-type text/plain lf-file "$HERE/page" if { path /file }
    http-request deny status 403 errorfile /errors/403.http
    filter spoe engine e config /spoe.conf
    log-format "%{+Q}o file crt"
backend b
    server s 10.0.0.1:443 ssl ca-file @system-ca crt opt@client.pem
resolvers r
    parse-resolv-conf
`
	files := Parse([]byte(config), nil).Files(Place{Config: "/etc/haproxy.cfg", Dir: "/site"})
	want := []string{
		"/b.pem", "/c a/ca.pem", "/c a/crl.pem", "/crt/a.pem", "/crt/client.pem", "/errors/403.http", "/errors/503.http",
		"/etc/resolv.conf", "/geo.map", "/geo/51.dat", "/hosts.map", "/issuers", "/jwt.pem", "/keys/a.key", "/lua/main.lua",
		"/nets", "/set/page", "/shop/a.ocsp", "/shop/a.pem", "/site/dh.pem", "/site/list", "/site/more nets", "/spoe.conf",
		"/t", "/v.pem",
	}
	if diff := cmp.Diff(want, pathsOf(files.All)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/lua/?.lua", "/site/other/?.lua"}, files.LuaPath); diff != "" {
		t.Errorf("Lua's path (-want +got)\n%s", diff)
	}
	listed := files.Listed("c.pem [ca-file z.pem alpn h2] x.example !y.example # d.pem")
	if diff := cmp.Diff([]string{"/c a/z.pem", "/crt/c.pem"}, pathsOf(listed)); diff != "" {
		t.Errorf("listed (-want +got)\n%s", diff)
	}
}

func TestFiles_StartFromTheDefaultPath(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "/site/page",
		"default-path current":         "/site/page",
		"default-path config":          "/etc/haproxy/page",
		"default-path parent":          "/etc/page",
		"default-path origin /srv":     "/srv/page",
		"default-path origin relative": "/site/relative/page",
	} {
		config := "global\n " + line + "\nfrontend f\n errorfile 503 page\n"
		at := Place{Config: "/etc/haproxy/haproxy.cfg", Dir: "/site"}
		if got := pathsOf(Parse([]byte(config), nil).Files(at).All); !slices.Equal(got, []string{want}) {
			t.Errorf("%q leads to %q, want %s", line, got, want)
		}
	}
}

// The paths of files are absolute for each configuration.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{"global\n lua-load", "frontend f\n bind :1 crt", "a\n errorfile", "b \"$X\n map(", "x\n -f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		files := Parse([]byte(config), nil).Files(Place{Config: "/c", Dir: "/d"})
		for _, file := range files.All {
			if file.Path == "" || file.Path[0] != '/' {
				t.Errorf("%q names %q", config, file.Path)
			}
		}
		files.Listed(config)
	})
}
