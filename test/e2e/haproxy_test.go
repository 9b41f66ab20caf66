package e2e_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// runs wants HAProxy to run the servers in that configuration and no others, those aside that leave.
func (env *testEnv) wantServers(configuration string) {
	env.t.Helper()
	want, is := serversIn(configuration), env.servers().serving()
	for id := range want {
		if is[id] != want[id] {
			env.t.Errorf("server %s is %q, want %q", id, is[id], want[id])
		}
	}
	for id := range is {
		if want[id] == "" {
			env.t.Errorf("server %s is running and in no configuration", id)
		}
	}
}

// serversIn returns address and weight of each server line, by backend/server.
func serversIn(configuration string) map[string]string {
	servers := map[string]string{}
	section := ""
	for line := range strings.Lines(configuration) {
		switch words := strings.Fields(line); {
		case len(words) > 1 && (words[0] == "backend" || words[0] == "listen"):
			section = words[1]
		case len(words) > 2 && words[0] == "server":
			servers[section+"/"+words[1]] = words[2] + " weight 1"
		}
	}
	return servers
}

// A runningServer is what HAProxy itself says of a server.
type runningServer struct {
	address  string
	draining bool
}

type runningServers map[string]runningServer // by backend/server

// serving are those that get requests.
func (r runningServers) serving() map[string]string {
	all := map[string]string{}
	for id, server := range r {
		if !server.draining {
			all[id] = server.address
		}
	}
	return all
}

// servers asks the HAProxy that serves. A master does not answer for a moment while it loads.
func (env *testEnv) servers() runningServers {
	env.t.Helper()
	var servers runningServers
	env.eventually("HAProxy tells its servers", func() bool {
		if _, err := os.Stat(env.path("haproxy.admin.sock")); err == nil { // without a master
			servers = parseServers(env.askHAProxy("haproxy.admin.sock", "show servers state"))
		} else {
			servers = parseServers(env.askHAProxy("haproxy.master.sock", fmt.Sprintf("@!%d show servers state", env.workerPID())))
		}
		return servers != nil
	})
	return servers
}

// parseServers returns nil for what is no answer.
func parseServers(answer string) runningServers {
	var servers runningServers
	var columns []string
	for line := range strings.Lines(answer) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "#" {
			columns, servers = words[1:], runningServers{}
		} else if len(columns) > 0 && len(words) == len(columns) {
			server := map[string]string{}
			for i, column := range columns {
				server[column] = words[i]
			}
			servers[server["be_name"]+"/"+server["srv_name"]] = runningServer{
				address:  fmt.Sprintf("%s:%s weight %s", server["srv_addr"], server["srv_port"], server["srv_uweight"]),
				draining: server["srv_admin_state"] != "0",
			}
		}
	}
	return servers
}

// ask puts one question to HAProxy and returns the answer, as far as there is one. A master that begins anew for a reload at
// this very moment may never give one, so whoever asks has to ask again.
func (env *testEnv) askHAProxy(socket, question string) string {
	conn, err := net.Dial("unix", env.path(socket))
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit / 10))
	if _, err := fmt.Fprintln(conn, question); err != nil {
		return ""
	}
	_ = conn.(*net.UnixConn).CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		return ""
	}
	return string(answer)
}
