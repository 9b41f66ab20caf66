package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// An eventStream reads the events of the daemon.
type eventStream struct {
	env    *testEnv
	body   io.Closer
	lines  *bufio.Reader
	lastID string
}

// openEvents reads the daemon's events after the one with that id; with an empty id, those to come.
func (env *testEnv) openEvents(lastID string) *eventStream {
	env.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+env.apiAddress+"/api/v1/events", nil)
	if err != nil {
		env.t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", lastID)
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		env.t.Fatal(err)
	}
	timer := time.AfterFunc(waitLimit, func() { _ = resp.Body.Close() })
	env.t.Cleanup(func() { timer.Stop(); _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		env.t.Fatalf("the events answer %s", resp.Status)
	}
	return &eventStream{env, resp.Body, bufio.NewReader(resp.Body), lastID}
}

// next returns the kind and the data of the next event, and the error that ended the stream.
func (s *eventStream) next() (kind, data string, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			s.lastID = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if data != "" {
				return kind, data, nil
			}
		}
	}
}

// waitChange returns the next change that was applied because of a push.
func (s *eventStream) waitChange() history.Change {
	s.env.t.Helper()
	for {
		kind, data, err := s.next()
		if err != nil {
			s.env.t.Fatal(err)
		}
		var event server.ChangeEvent
		if kind != "change" {
			continue
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			s.env.t.Fatal(err)
		}
		c := event.Change
		if event.Pipeline == "haproxy" && c.Outcome == history.OutcomeApplied && c.Trigger.Kind == history.TriggerPush {
			return c
		}
	}
}

// getJSON decodes the daemon's answer.
func (env *testEnv) getJSON(path string, answer any) {
	env.t.Helper()
	resp, err := http.Get("http://" + env.apiAddress + path)
	if err != nil {
		env.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		env.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}

// A push appears as an event, also to a client that was away, and in the instances and the series of the pipeline.
func TestEvents_Push(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitInSync()

	stream := env.openEvents("")
	env.startInstance("web", "b", 8000)
	first := stream.waitChange()
	if text := strings.Join(first.Instances, " "); !strings.Contains(text, "web") || !strings.Contains(text, "host-b") {
		t.Errorf("the change of the instances is %q", text)
	}
	_ = stream.body.Close()

	env.startInstance("web", "c", 8000)
	env.waitInSync()
	resumed := env.openEvents(stream.lastID)
	if second := resumed.waitChange(); second.Generation <= first.Generation ||
		!strings.Contains(strings.Join(second.Instances, " "), "host-c") {
		t.Errorf("after the change %d came %+v", first.Generation, second)
	}

	var list server.InstanceList
	env.eventually("HAProxy reports all servers", func() bool {
		env.getJSON("/api/v1/pipelines/haproxy/instances?service=web", &list)
		up := 0
		for _, instance := range list.Instances {
			if len(instance.Servers) == 1 && instance.Servers[0].Backend == "web-8000" && instance.Status == "alive" {
				up++
			}
		}
		return up == 3 && list.Matched == 3
	})
	var series server.PipelineSeries
	env.getJSON("/api/v1/pipelines/haproxy/series", &series)
	changes, restarts := 0, 0
	for _, point := range series.Points {
		changes, restarts = changes+point.Changes, restarts+point.Reloads
	}
	last := series.Points[len(series.Points)-1]
	if changes < 3 || restarts < 1 || last.Instances == nil || *last.Instances != 3 {
		t.Errorf("%d changes, %d reloads and restarts, the last point is %+v", changes, restarts, last)
	}

	env.stop() // does not wait for the stream
	for {
		if _, _, err := resumed.next(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("the stream ended with %v", err)
			}
			return
		}
	}
}
