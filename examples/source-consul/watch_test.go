package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/sdktest"
)

// TestMain is also the main function of the plugin: the tests start their own binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A recorder records what a source emits and logs.
func TestWatch(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "two", "b", 2), passing("web", "one", "a", 1))
	a := watchConsul(t, c, config{Datacenter: "dc1"})
	first := a.next("web/one/a:1", "web/two/b:2")
	if first.Source != "catalogue" || first.Cluster != "dc1" || first.Taken.IsZero() || first.Last != nil {
		t.Errorf("got %+v", first)
	}

	c.set("chat", passing("chat", "one", "c", 3))
	last := a.next("chat/one/c:3", "web/one/a:1", "web/two/b:2").Last
	if last == nil || last.Instance.ID != "c" || last.PreviousStatus != sdk.Unknown || last.Instance.Status != sdk.Alive {
		t.Errorf("got %+v", last)
	}
	c.set("web", passing("web", "one", "a", 1), entry("web", "two", "b", 2, api.HealthMaint))
	last = a.next("chat/one/c:3", "web/one/a:1", "web/two/b:2 Draining").Last
	if last == nil || last.Instance.Status != sdk.Draining || last.PreviousStatus != sdk.Alive {
		t.Errorf("got %+v", last)
	}
	c.set("web", passing("web", "one", "a", 1))
	last = a.next("chat/one/c:3", "web/one/a:1").Last
	if last == nil || last.Instance.ID != "b" || last.Instance.Status != sdk.Tombstone || last.PreviousStatus != sdk.Draining {
		t.Errorf("got %+v", last)
	}
	c.set("chat")
	last = a.next("web/one/a:1").Last
	if last == nil || last.Instance.ID != "c" || last.Instance.Status != sdk.Tombstone {
		t.Errorf("got %+v", last)
	}
	if first.Services[0].Instances[1].Status != sdk.Alive || len(first.Services) != 1 {
		t.Errorf("the first snapshot was changed afterwards: %+v", first)
	}
}

func TestWatch_NoServices(t *testing.T) {
	c := startConsul(t)
	a := watchConsul(t, c, config{})
	a.next()
	c.set("web", passing("web", "one", "a", 1))
	a.next("web/one/a:1")
	c.set("web")
	a.next()
}

func TestWatch_ListedServices(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.set("database", passing("database", "one", "d", 5432))
	a := watchConsul(t, c, config{Services: []string{"web", "later"}})
	a.next("web/one/a:1")
	c.set("later", passing("later", "one", "b", 2))
	a.next("later/one/b:2", "web/one/a:1")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queries["/v1/catalog/services"] > 0 || c.queries["/v1/health/service/database"] > 0 {
		t.Errorf("got queries %v", c.queries)
	}
}

func TestWatch_Tag(t *testing.T) {
	c := startConsul(t)
	tagged := passing("web", "one", "a", 1)
	tagged.Service.Tags = []string{"edge"}
	c.set("web", tagged, passing("web", "one", "b", 2))
	c.set("database", passing("database", "one", "d", 5432))
	a := watchConsul(t, c, config{Tag: "edge"})
	a.next("web/one/a:1")
	c.set("web", passing("web", "one", "a", 1))
	a.next()
	c.set("web", tagged)
	a.next("web/one/a:1")
}

// The first snapshot has all services, and later changes of many services are not a snapshot each.
func TestWatch_ManyServices(t *testing.T) {
	const services = 200
	c := startConsul(t)
	var want []string
	c.change(func() {
		for n := range services {
			name := fmt.Sprintf("s%03d", n)
			c.services[name] = []*api.ServiceEntry{passing(name, "one", "a", 1000+n)}
			want = append(want, fmt.Sprintf("%s/one/a:%d", name, 1000+n))
		}
	})
	a := watchConsul(t, c, config{})
	a.next(want...)
	a.silence()
}

// A Consul that wakes up a query although its result is the same, and one whose wait ends, change nothing.
func TestWatch_NothingChanges(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	a := watchConsul(t, c, config{Services: []string{"web"}})
	a.next("web/one/a:1")
	for range 5 {
		c.waiting("/v1/health/service/web")
		before := c.count()
		c.change(func() {})
		eventually(t, "the query is made again", func() bool { return c.count() > before })
	}
	a.silence()
}

func TestWatch_InvalidMetadata(t *testing.T) {
	c := startConsul(t)
	bad := passing("web", "one", "b", 2)
	bad.Service.Meta = map[string]string{metaServicePort: "http"}
	c.set("web", passing("web", "one", "a", 1), bad)
	a := watchConsul(t, c, config{})
	a.next("web/one/a:1")
	a.logs("id=b")
	c.set("web", passing("web", "one", "a", 3), bad)
	a.next("web/one/a:3")
	if got := strings.Count(a.log.String(), "id=b"); got != 1 {
		t.Errorf("it was logged %d times", got)
	}
	c.set("web", passing("web", "one", "a", 3), passing("web", "one", "b", 2))
	a.next("web/one/a:3", "web/one/b:2")
}

// Whatever Consul returns in place of a result, the services stay, and the next result is used.
func TestWatch_ConsulFails(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "99")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		fault http.HandlerFunc
		want  string
	}{
		"no leader":           {text(500, "No cluster leader"), "No cluster leader"},
		"no such token":       {text(403, "ACL not found"), "status 403"},
		"too many":            {text(429, "Your IP is issuing too many concurrent connections"), "status 429"},
		"a page of a proxy":   {text(200, "<html>Bad gateway</html>"), "invalid"},
		"truncated":           {text(200, `[{"Node": {"Node": "one"`), "invalid"},
		"null":                {text(200, "null"), "invalid"},
		"null in a list":      {text(200, "[null]"), "invalid"},
		"an incomplete entry": {text(200, `[{"Node": {"Node": "one"}}]`), "invalid"},
		"another type":        {text(200, `"all is well"`), "invalid"},
		"nothing":             {text(200, ""), "invalid"},
		"everything is hidden": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-LastContact", "0") // without it, the client ignores the next one
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
			_, _ = io.WriteString(w, "[]")
		}, errHidden.Error()},
		"the connection breaks": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "does not respond"},
		"no response":           {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, errTimeout.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			c := startConsul(t)
			c.set("web", passing("web", "one", "a", 1))
			a := watchConsul(t, c, config{Services: []string{"web"}, Timeout: time.Second})
			a.next("web/one/a:1")
			c.waiting("/v1/health/service/web")
			c.setFault(test.fault)
			a.fails(test.want)
			a.silence()
			c.set("web", passing("web", "one", "a", 2))
			a.silence()
			c.setFault(nil)
			a.next("web/one/a:2")
			a.recovers()
		})
	}
}

// A list of services without one of them removes it; a failing list does not.
func TestWatch_CatalogFails(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.set("chat", passing("chat", "one", "c", 3))
	a := watchConsul(t, c, config{})
	a.next("chat/one/c:3", "web/one/a:1")
	for _, fault := range []string{"null", "{", "[]"} {
		c.setFault(func(w http.ResponseWriter, r *http.Request) {
			body := fault
			if strings.Contains(r.URL.Path, "/service/") {
				body = "null"
			}
			_, _ = io.WriteString(w, body)
		})
		eventually(t, "the catalogue fails", func() bool {
			return slices.ContainsFunc(a.problems(), func(p string) bool { return strings.Contains(p, "(catalog") })
		})
		c.setFault(nil)
		a.recovers()
	}
	a.silence()
}

func TestWatch_ConsulUnreachable(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.set("chat", passing("chat", "one", "c", 3))
	a := watchConsul(t, c, config{})
	a.next("chat/one/c:3", "web/one/a:1")
	for n := range 2 {
		c.stop()
		eventually(t, "all queries fail", func() bool {
			problems := a.problems()
			return len(problems) > 0 && strings.Contains(problems[0], "and 2 more")
		})
		a.silence()
		c.start()
		c.set("web", passing("web", "one", "a", 2+n))
		a.next("chat/one/c:3", fmt.Sprintf("web/one/a:%d", 2+n))
		a.recovers()
	}
	a.silence()
}

func TestWatch_ConsulStartsLater(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.stop()
	a := watchConsul(t, c, config{})
	a.fails("does not respond")
	a.silence()
	c.start()
	a.next("web/one/a:1")
	a.recovers()
}

// One service that cannot be read delays the first snapshot, which would otherwise remove its instances from the proxy.
func TestWatch_FirstSnapshotIsComplete(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.set("chat", passing("chat", "one", "c", 3))
	c.setFault(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/chat") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Consul-Index", "5")
		c.mu.Lock()
		defer c.mu.Unlock()
		writeJSON(w, c.result(r))
	})
	a := watchConsul(t, c, config{})
	a.fails("service chat")
	a.silence()
	c.setFault(nil)
	a.next("chat/one/c:3", "web/one/a:1")
}

// The index of a Consul that was restored from a backup is lower, and would otherwise not be reached for long.
func TestWatch_IndexGoesBackwards(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			c := startConsul(t)
			c.change(func() {
				c.index = 1000
				c.services["web"] = []*api.ServiceEntry{passing("web", "one", "a", 1)}
			})
			a := watchConsul(t, c, config{})
			a.next("web/one/a:1")
			if restart {
				c.stop()
			}
			c.change(func() {
				c.index = 5
				c.services["web"] = []*api.ServiceEntry{passing("web", "one", "a", 2)}
			})
			if restart {
				c.start()
			}
			a.next("web/one/a:2")
			c.set("web", passing("web", "one", "a", 3))
			a.next("web/one/a:3")
			c.set("web", passing("web", "one", "a", 4))
			a.next("web/one/a:4")
		})
	}
}

// A Consul that sends no index does not wait: the queries are limited, and changes are still seen.
func TestWatch_NoIndex(t *testing.T) {
	c := startConsul(t)
	c.set("web", passing("web", "one", "a", 1))
	c.setFault(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		writeJSON(w, c.result(r))
	})
	a := watchConsul(t, c, config{Services: []string{"web"}})
	a.next("web/one/a:1")
	eventually(t, "the burst is over", func() bool { return c.count() >= queryBurst })
	c.set("web", passing("web", "one", "a", 2))
	a.next("web/one/a:2")
	if got := c.count(); got > 10*queryBurst {
		t.Errorf("there were %d queries", got)
	}
}

func TestConformance(t *testing.T) {
	c := startConsul(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.set("web", passing("web", "one", "a", 1))
	sdktest.TestSource(t, sdktest.Source{
		Program: sdktest.Program{
			Path: self, Args: []string{"plugin"}, Block: sdk.Block{"address": "http://" + c.address},
			Env: []string{"GORACE=atexit_sleep_ms=0"}, // the race detector delays the end of a program by a second
		},
		Change: func(context.Context) error {
			c.set("web", slices.Concat(c.services["web"], []*api.ServiceEntry{passing("web", "one", "b", 2)})...)
			return nil
		},
	})
}
