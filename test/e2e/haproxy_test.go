package e2e_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// wantServers fails the test unless HAProxy runs exactly the servers in the configuration, apart from draining ones.
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

// serversIn returns the address and weight of each server line by backend/server.
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

// A runningServer is a server in HAProxy's own list.
type runningServer struct {
	address  string
	draining bool
}

type runningServers map[string]runningServer // by backend/server

// serving returns the address and weight of the servers that get requests.
func (r runningServers) serving() map[string]string {
	all := map[string]string{}
	for id, server := range r {
		if !server.draining {
			all[id] = server.address
		}
	}
	return all
}

// servers returns the list of the HAProxy that serves. It waits while a master that loads a configuration does not answer.
func (env *testEnv) servers() runningServers {
	env.t.Helper()
	var servers runningServers
	env.eventually("HAProxy lists its servers", func() bool {
		if _, err := os.Stat(env.path("haproxy.admin.sock")); err == nil { // only without a master
			servers = parseServers(env.askHAProxy("haproxy.admin.sock", "show servers state"))
		} else {
			servers = parseServers(env.askHAProxy("haproxy.master.sock", fmt.Sprintf("@!%d show servers state", env.workerPID())))
		}
		return servers != nil
	})
	return servers
}

// parseServers returns nil if the answer has no list.
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

// endingHAProxy returns a line of a global section with which HAProxy ends with that exit code once end is called.
func (env *testEnv) endingHAProxy(code int) (line string, end func()) {
	env.write("end.lua", fmt.Sprintf("core.register_task(function()\n  while not io.open(%q) do core.msleep(50) end\n"+
		"  os.exit(%d)\nend)\n", env.path("end"), code))
	return "  lua-load " + env.path("end.lua") + "\n", func() { env.write("end", "") }
}

// askHAProxy sends one command to a socket of HAProxy and returns the answer, or an empty string. A master that reexecutes itself
// at this moment may not answer, so callers have to repeat the command.
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
