package haproxy

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A server to which something else refers is not removed before HAProxy's check has accepted the file without it.
func TestRuntimeChange_ReferencedServers(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"http-request deny if { srv_is_up(b) eq 5 }",
		"http-request deny if { srv_is_up(app/b) eq 5 }",
		"http-request deny if { srv_conn(b) gt 99 }",
		`http-request set-header X "%[srv_queue('b')]"`,
		`http-request set-header X "now %[srv_weight(\"b\")]"`,
		"http-request deny if { srv_uweight(b) gt 99 }",
		"http-request deny if { srv_iweight(b) gt 99 }",
		"http-request deny if { srv_sess_rate(b) gt 9999 }",
		"http-request deny if { srv_conn_free(b) lt -99 }",
		"http-request deny if { srv_is_up(\\x62) eq 5 }",
		"use-server b if { path /b }",
		"server t 127.0.0.1:9 disabled track b",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			s := r.sink()
			serverA, serverB := "server a "+a.address, "server b "+b.address+" check inter 1h"
			both := r.lines(line, serverA, serverB)
			r.apply(s, both, sdk.ActionRestart)
			if _, err := s.Apply(t.Context(), r.lines(line, serverA)); !errors.Is(err, sdk.ErrRejected) {
				t.Errorf("HAProxy accepts it: %v", err)
			}
			if got := r.servers(s, "app"); strings.Contains(got, "b-") || !strings.Contains(got, "b") {
				t.Errorf("the servers are %q, want b among those that serve", got)
			}
			r.wantOnDisk(both)
			wantHealthy(t, s)
		})
	}
}

// If something reads the numbers of servers, these are as after a start.
func TestRuntimeChange_ServerNumbers(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	var servers []string
	var addresses []string
	for i := range 4 {
		addresses = append(addresses, r.named(fmt.Sprint("s", i)).address)
		servers = append(servers, fmt.Sprintf("server s%d %s", i, addresses[i]))
	}
	const number = "http-response set-header X-Number %[srv_id]"
	numbers := func() map[string]string {
		all := map[string]string{}
		for range 3 * len(servers) {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.port))
			check(t, err)
			check(t, answer.Body.Close())
			all[answer.Header.Get("X-Server")] = answer.Header.Get("X-Number")
		}
		return all
	}
	r.apply(s, r.lines(number, servers[0], servers[1], servers[2]), sdk.ActionRestart)
	for _, step := range []struct{ lines, want []string }{
		{[]string{servers[1], servers[2]}, []string{"s1", "s2"}},
		{[]string{servers[3], servers[1], servers[2]}, []string{"s3", "s1", "s2"}},
		{[]string{servers[1], servers[3], servers[2]}, []string{"s1", "s3", "s2"}},
	} {
		r.apply(s, r.lines(append([]string{number}, step.lines...)...), sdk.ActionReload)
		got := numbers()
		for i, name := range step.want {
			if got[name] != fmt.Sprint(i+1) {
				t.Errorf("with %v the server %s has the number %q", step.want, name, got[name])
			}
		}
	}
}

// Lua scripts see the current servers. Before 2.8 they see those of the start and use deleted ones, so that
// servers are added and removed by reloads there.
func TestRuntimeChange_LuaScripts(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	script := r.path("servers.lua")
	check(t, os.WriteFile(script, []byte(`core.register_service("addresses", "http", function(applet)
	local all = {}
	for _, server in pairs(core.backends["app"].servers) do all[#all+1] = server:get_addr() end
	table.sort(all)
	applet:set_status(200)
	applet:add_header("X-Server", table.concat(all, " "))
	applet:start_response()
end)
`), 0o600))
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	document := func(servers ...string) sdk.Document {
		lines := append([]string{"http-request use-service lua.addresses"}, servers...)
		return edited(r.lines(lines...), "maxconn 100", "maxconn 100\n    lua-load "+script)
	}
	addresses := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		eventually(t, "the servers that were removed are gone", func() bool { return r.answeredBy() == strings.Join(want, " ") })
	}
	r.apply(s, document("server a "+a.address), sdk.ActionRestart)
	action := sdk.ActionRuntime
	info := runtimeapi.ParseInfo(r.ask(s, "show info")[0])
	if major, minor := runtimeapi.ParseVersion(info["Version"]); major == 2 && minor < 8 {
		action = sdk.ActionReload
	}
	r.apply(s, document("server a "+a.address, "server b "+b.address), action)
	addresses(a.address, b.address)
	r.apply(s, document("server b "+b.address), action)
	addresses(b.address)
	r.apply(s, document("server b "+b.address+" weight 7"), sdk.ActionRuntime)
}
