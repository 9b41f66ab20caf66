package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
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
type recorder struct {
	*testing.T
	source    *source
	snapshots chan sdk.Snapshot
	log       logBuffer
}

// watch calls Watch until the test ends, and checks that Watch returns then.
func watch(t *testing.T, cfg config) *recorder {
	t.Helper()
	a := &recorder{T: t, snapshots: make(chan sdk.Snapshot, 100)}
	if cfg.Prefix == "" {
		cfg.Prefix = defaults().Prefix
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = defaults().DialTimeout
	}
	a.source = &source{
		name: "catalogue", log: slog.New(slog.NewTextHandler(&a.log, nil)), cfg: cfg,
		probeInterval: 50 * time.Millisecond, retryInterval: 50 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.source.Watch(ctx, func(snap sdk.Snapshot) { a.snapshots <- snap }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch returned %v", err)
		}
		if t.Failed() {
			t.Logf("the source's log:\n%s", a.log.String())
		}
	})
	return a
}

// next waits for the next snapshot and expects these instances in it, as "name/host/id:port".
func (a *recorder) next(want ...string) sdk.Snapshot {
	a.Helper()
	select {
	case snap := <-a.snapshots:
		if diff := cmp.Diff(want, instancesOf(snap)); diff != "" {
			a.Fatalf("(-want +got)\n%s", diff)
		}
		return snap
	case <-time.After(time.Minute):
		a.Fatalf("nothing came; the source's log:\n%s", a.log.String())
		return sdk.Snapshot{}
	}
}

func instancesOf(snap sdk.Snapshot) []string {
	var all []string
	for _, service := range snap.Services {
		for _, i := range service.Instances {
			all = append(all, fmt.Sprintf("%s/%s/%s:%d", i.Name, i.Hostname, i.ID, i.Ports[0].Port))
		}
	}
	return all
}

// silence expects that no further snapshot was emitted.
func (a *recorder) silence() {
	a.Helper()
	select {
	case snap := <-a.snapshots:
		a.Errorf("unasked for came %q", instancesOf(snap))
	default:
	}
}

// reports waits until the health of the source is ok or not.
func (a *recorder) reports(ok bool) {
	a.Helper()
	a.eventually(fmt.Sprintf("the health is ok: %v", ok), func() bool {
		health, err := a.source.Health(a.Context())
		return err == nil && health.OK() == ok
	})
}

func (a *recorder) logs(line string) {
	a.Helper()
	a.eventually("the log has "+line, func() bool { return strings.Contains(a.log.String(), line) })
}

func (a *recorder) eventually(what string, is func() bool) {
	a.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	a.Fatalf("never: %s; the log is\n%s", what, a.log.String())
}

// outages returns how often etcd was away according to the log, and fails the test if one outage is logged twice. On a busy
// machine etcd may also be too slow, which counts as well.
func (a *recorder) outages() (n int) {
	a.Helper()
	away := false
	for line := range strings.Lines(a.log.String()) {
		switch {
		case strings.Contains(line, "etcd responds again"):
			away = false
		case strings.Contains(line, "etcd does not respond"):
			if away {
				a.Errorf("one outage is logged twice:\n%s", a.log.String())
			}
			away = true
			n++
		}
	}
	return n
}

// logBuffer is a log for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWatch(t *testing.T) {
	e := startEtcd(t)
	e.put("/services/web/two/b", instance(2))
	e.put("/services/web/one/a", instance(1))
	e.put("/elsewhere/web/one/a", instance(9))
	a := watch(t, config{Endpoints: []string{e.address}})
	first := a.next("web/one/a:1", "web/two/b:2")
	if first.Source != "catalogue" || first.Cluster == "" || first.Taken.IsZero() || first.Last != nil {
		t.Errorf("got %+v", first)
	}

	e.put("/services/chat/one/c", instance(3))
	last := a.next("chat/one/c:3", "web/one/a:1", "web/two/b:2").Last
	if last == nil || last.Instance.ID != "c" || last.PreviousStatus != sdk.Unknown || last.Instance.Status != sdk.Alive {
		t.Errorf("got %+v", last)
	}
	e.put("/services/web/two/b", `{"Status": 4, "Ports": [{"Port": 2}]}`)
	last = a.next("chat/one/c:3", "web/one/a:1", "web/two/b:2").Last
	if last == nil || last.Instance.Status != sdk.Draining || last.PreviousStatus != sdk.Alive {
		t.Errorf("got %+v", last)
	}
	e.delete("/services/web/two/b")
	last = a.next("chat/one/c:3", "web/one/a:1").Last
	if last == nil || last.Instance.ID != "b" || last.Instance.Status != sdk.Tombstone || last.PreviousStatus != sdk.Draining {
		t.Errorf("got %+v", last)
	}
	if first.Services[0].Instances[1].Status != sdk.Alive || len(first.Services) != 1 {
		t.Errorf("the first snapshot was changed afterwards: %+v", first)
	}
}

func TestWatch_NoKeys(t *testing.T) {
	e := startEtcd(t)
	a := watch(t, config{Endpoints: []string{e.address}})
	a.next()
}

func TestWatch_Transaction(t *testing.T) {
	e := startEtcd(t)
	e.put("/services/old/one/a", instance(1))
	a := watch(t, config{Endpoints: []string{e.address}})
	a.next("old/one/a:1")
	ops := []clientv3.Op{clientv3.OpDelete("/services/old/one/a")}
	var want []string
	for n := range 50 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("/services/web/one/%02d", n), instance(100+n)))
		want = append(want, fmt.Sprintf("web/one/%02d:%d", n, 100+n))
	}
	if _, err := e.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	a.next(want...)
	e.put("/services/web/two/a", instance(1))
	a.next(append(want, "web/two/a:1")...)
}

// A service that renews its key as a heartbeat, or writes the same instant in another zone, changes nothing.
func TestWatch_Heartbeat(t *testing.T) {
	e := startEtcd(t)
	const format = `{"ports": [{"port": 1}], "created": %q, "updated": %q}`
	e.put("/services/web/one/a", fmt.Sprintf(format, "2026-11-22T07:00:00Z", "2026-11-22T07:00:00Z"))
	a := watch(t, config{Endpoints: []string{e.address}})
	a.next("web/one/a:1")
	e.put("/services/web/one/a", fmt.Sprintf(format, "2026-11-22T07:00:00Z", "2026-11-22T07:01:00Z"))
	e.put("/services/web/one/a", fmt.Sprintf(format, "2026-11-22T08:00:00+01:00", "2026-11-22T07:02:00Z"))
	e.put("/services/web/one/b", instance(2))
	a.next("web/one/a:1", "web/one/b:2")
	e.put("/services/web/one/a", fmt.Sprintf(format, "2026-11-22T07:30:00Z", "2026-11-22T07:03:00Z"))
	a.next("web/one/a:1", "web/one/b:2")
	a.silence()
}

func TestWatch_InvalidValue(t *testing.T) {
	e := startEtcd(t)
	e.put("/services/web/one/a", instance(1))
	e.put("/services/web/one/b", `{"ports": [{"port": 99999}]}`)
	e.put("/services/web/one", instance(3))
	a := watch(t, config{Endpoints: []string{e.address}})
	a.next("web/one/a:1")
	a.logs(`key=/services/web/one/b error="port 1 of the list: 99999 is not a port"`)
	a.logs(`key=/services/web/one error="the key is not NAME/HOST/ID after the prefix"`)

	e.put("/services/web/one/c", "no JSON")
	e.put("/services/web/one/b", instance(2))
	a.next("web/one/a:1", "web/one/b:2")
	a.logs("key=/services/web/one/c")
	e.put("/services/web/one/a", `{}`)
	a.next("web/one/b:2")
	e.delete("/services/web/one/a")
	e.put("/services/web/one/d", instance(4))
	a.next("web/one/b:2", "web/one/d:4")
	a.silence()
}

func TestWatch_EtcdUnreachable(t *testing.T) {
	e := startEtcd(t)
	e.put("/services/web/one/a", instance(1))
	a := watch(t, config{Endpoints: []string{e.address}, DialTimeout: 200 * time.Millisecond})
	a.next("web/one/a:1")
	for n := range 2 {
		before := a.outages()
		e.kill()
		a.eventually("the outage is logged", func() bool { return a.outages() > before })
		a.reports(false)
		e.start()
		a.silence()
		e.put("/services/web/one/a", instance(2+n))
		a.next(fmt.Sprintf("web/one/a:%d", 2+n))
		a.reports(true)
	}
	a.logs("etcd responds again")
	if strings.Contains(a.log.String(), "etcd returned an error") {
		t.Error("something else was logged than that etcd was away")
	}
}

func TestWatch_EtcdStartsLater(t *testing.T) {
	e := newEtcd(t)
	a := watch(t, config{Endpoints: []string{e.address}, DialTimeout: 100 * time.Millisecond})
	a.logs("etcd does not respond")
	e.start()
	e.put("/services/web/one/a", instance(1))
	for !slices.Contains(instancesOf(<-a.snapshots), "web/one/a:1") { // the first snapshot may be empty
	}
}

func TestWatch_MissedChanges(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%v", compacted), func(t *testing.T) {
			e := startEtcd(t)
			proxy := newCable(t, e.address)
			e.put("/services/web/one/a", instance(1))
			e.put("/services/web/one/b", instance(2))
			a := watch(t, config{Endpoints: []string{proxy.address}, DialTimeout: 200 * time.Millisecond})
			a.next("web/one/a:1", "web/one/b:2")
			e.delete("/services/web/one/b")
			a.next("web/one/a:1") // so that the watch is established
			proxy.interrupt()
			a.logs("etcd does not respond")
			e.delete("/services/web/one/a")
			e.put("/services/web/one/c", instance(3))
			last := e.put("/services/web/one/c", instance(4))
			if compacted {
				if _, err := e.client.Compact(t.Context(), last); err != nil {
					t.Fatal(err)
				}
			}
			a.silence()
			proxy.restore()
			a.next("web/one/c:4")
			if got := strings.Contains(a.log.String(), "reading all keys again"); got != compacted {
				t.Errorf("all keys were read again: %v", got)
			}
			e.put("/services/web/one/d", instance(5))
			a.next("web/one/c:4", "web/one/d:5")
		})
	}
}

// Without a probe, the watch would wait until the new etcd has had as many changes as the previous one.
func TestWatch_EtcdRecreated(t *testing.T) {
	e := startEtcd(t)
	for n := range 20 {
		e.put("/services/web/one/a", instance(1+n))
	}
	a := watch(t, config{Endpoints: []string{e.address}, DialTimeout: 200 * time.Millisecond})
	a.next("web/one/a:20")
	e.put("/services/web/one/a", instance(21))
	a.next("web/one/a:21") // so that the watch is established
	e.kill()
	e.removeData()
	e.start()
	a.next()
	e.put("/services/web/one/b", instance(2))
	a.next("web/one/b:2")
}

func TestWatch_Authentication(t *testing.T) {
	e := startEtcd(t)
	e.put("/services/web/one/a", instance(1))
	_, err := e.client.UserAdd(t.Context(), "root", "secret")
	if err == nil {
		_, err = e.client.UserGrantRole(t.Context(), "root", "root")
	}
	if err == nil {
		_, err = e.client.AuthEnable(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	endpoints := []string{e.address}
	watch(t, config{Endpoints: endpoints, Username: "root", Password: "secret"}).next("web/one/a:1")

	wrong := watch(t, config{Endpoints: endpoints, Username: "root", Password: "guess"})
	wrong.logs("etcd returned an error: etcdserver: authentication failed, invalid user ID or password")
	none := watch(t, config{Endpoints: endpoints})
	none.logs("etcd returned an error: etcdserver: user name is empty")
	wrong.silence()
	none.silence()
	if strings.Contains(wrong.log.String(), "guess") {
		t.Error("the log has the password")
	}
}

func TestConfigFaults(t *testing.T) {
	for _, test := range []struct {
		block sdk.Block
		want  []string
	}{
		{sdk.Block{}, []string{`endpoints is missing: list members of the cluster, such as ["http://127.0.0.1:2379"]`}},
		{
			sdk.Block{"endpoints": []any{"a:1", ""}, "prefix": "/services", "dial_timeout": "0s", "username": "root"},
			[]string{
				"endpoints[1] is empty",
				`prefix is "/services": it must end with a slash, so that it does not match other keys`,
				"dial_timeout is 0s: it must be positive",
				"username and password must be set together",
			},
		},
	} {
		cfg := defaults()
		err := sdk.Decode(test.block, &cfg)
		if err == nil {
			t.Fatalf("%v was accepted", test.block)
		}
		if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestConformance(t *testing.T) {
	e := startEtcd(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e.put("/services/web/one/a", instance(1))
	sdktest.TestSource(t, sdktest.Source{
		Program: sdktest.Program{
			Path: self, Args: []string{"plugin"}, Block: sdk.Block{"endpoints": []any{"http://" + e.address}},
			Env: []string{"GORACE=atexit_sleep_ms=0"}, // the race detector delays the end of a program by a second
		},
		Change: func(ctx context.Context) error {
			_, err := e.client.Put(ctx, "/services/web/one/b", instance(2))
			return err
		},
	})
}
