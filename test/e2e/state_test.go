package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// pipeline is what the API tells of the one that is called haproxy, and the zero value where nobody answers.
func (s *site) pipeline() server.Pipeline {
	resp, err := http.Get("http://" + s.api + "/api/v1/pipelines/haproxy")
	if err != nil {
		return server.Pipeline{}
	}
	defer resp.Body.Close()
	var p server.Pipeline
	if json.NewDecoder(resp.Body).Decode(&p) != nil || resp.StatusCode != http.StatusOK {
		return server.Pipeline{}
	}
	return p
}

// count is a number among the facts that the API tells of HAProxy. There are none where HAProxy takes too long to answer.
func (s *site) count(fact string) int {
	s.t.Helper()
	told := ""
	s.eventually("the API tells the number of "+fact, func() bool { told = s.pipeline().Facts[fact]; return told != "" })
	n, err := strconv.Atoi(told)
	if err != nil {
		s.t.Fatalf("%s: %v", fact, err)
	}
	return n
}

// wanted is the configuration for what Sidecar knows at this moment. Its digest is that of a document of the daemon only with
// a template that does not tell the time.
func (s *site) wanted() sdk.File {
	s.t.Helper()
	if s.template == nil {
		s.template = s.loadTemplate()
	}
	snap, _ := engine.Quarantine(s.sidecar.Snapshot())
	files, _, err := s.template.Render(s.t.Context(), snap)
	if err != nil {
		s.t.Fatal(err)
	}
	return files[0]
}

func (s *site) loadTemplate() engine.Template {
	s.t.Helper()
	cfg, err := config.Load(config.Options{File: s.path("haproxy-api.toml"), Named: true})
	if err != nil {
		s.t.Fatal(err)
	}
	p := cfg.Pipelines["haproxy"]
	set := templates.Config{
		Path: p.Template, Files: p.Files, Partials: p.Partials, Vars: p.Vars,
		BindIP: p.BindIP, UseHostnames: p.UseHostnames, User: p.User, Group: p.Group,
	}
	if p.Template != "" && !filepath.IsAbs(p.Template) {
		set.Path = s.path(p.Template)
	}
	template, err := templates.New(set).Load()
	if err != nil {
		s.t.Fatal(err)
	}
	return template
}

// converged waits until the document for what Sidecar knows at this moment is in effect, and returns it.
func (s *site) converged() string {
	s.t.Helper()
	want := s.wanted()
	digest := sdk.DigestOf([]sdk.File{want})
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		next := s.log.next() // the daemon tells of what it has done
		if s.pipeline().Digest == digest {
			return string(want.Content)
		}
		select {
		case <-next:
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.t.Fatalf("never: what Sidecar knows is in effect; the pipeline is %+v", s.pipeline())
	return ""
}

// agrees waits until the file says what is wanted, and wants HAProxy to run just that.
func (s *site) agrees() {
	s.t.Helper()
	want := s.converged()
	s.eventually("the file follows", func() bool { return s.read(s.config) == want })
	s.runs(want)
}

// runs wants HAProxy to run the servers in that configuration and no others, those aside that leave.
func (s *site) runs(configuration string) {
	s.t.Helper()
	want, is := serversIn(configuration), s.servers().serving()
	for id := range want {
		if is[id] != want[id] {
			s.t.Errorf("server %s is %q, want %q", id, is[id], want[id])
		}
	}
	for id := range is {
		if want[id] == "" {
			s.t.Errorf("server %s is running and in no configuration", id)
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
	address string
	leaving bool
}

type runningServers map[string]runningServer // by backend/server

// serving are those that get requests.
func (r runningServers) serving() map[string]string {
	all := map[string]string{}
	for id, server := range r {
		if !server.leaving {
			all[id] = server.address
		}
	}
	return all
}

// servers asks the HAProxy that serves. A master does not answer for a moment while it loads.
func (s *site) servers() runningServers {
	s.t.Helper()
	var servers runningServers
	s.eventually("HAProxy tells its servers", func() bool {
		if _, err := os.Stat(s.path("haproxy.admin.sock")); err == nil { // without a master
			servers = parseServers(s.ask("haproxy.admin.sock", "show servers state"))
		} else {
			servers = parseServers(s.ask("haproxy.master.sock", fmt.Sprintf("@!%d show servers state", s.workerPID())))
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
				address: fmt.Sprintf("%s:%s weight %s", server["srv_addr"], server["srv_port"], server["srv_uweight"]),
				leaving: server["srv_admin_state"] != "0",
			}
		}
	}
	return servers
}

// ask puts one question to HAProxy and returns the answer, as far as there is one. A master that begins anew for a reload at
// this very moment may never give one, so whoever asks has to ask again.
func (s *site) ask(socket, question string) string {
	conn, err := net.Dial("unix", s.path(socket))
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience / 10))
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
