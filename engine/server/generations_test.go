package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const generationsPath = "/api/v1/pipelines/haproxy/generations"

// No answer has a secret, whatever the components return. The path of the raw document is not among them.
func TestAnswers_MaskSecrets(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	env.SetConfigurationError(fmt.Errorf("update_token = %q is too short\npassword=%s", secret, secret))
	env.applied(3)
	second := env.applied(4)
	event := env.addEvent()
	env.sink.set(sdk.Rejectf("%s", strings.Join(secretSentences, "\n")), nil)
	env.emit(3)
	env.waitForChange(func(c *history.Change) bool { return c.Outcome == history.OutcomeRejected })
	env.waitForStatus(func(s Status) bool { return len(s.Pipelines[0].Problems) > len(secretSentences) })
	masked := 0
	for _, r := range env.routes() {
		if r.method != http.MethodGet || r.path == "/api/v1/events" || r.path == "/{$}" {
			continue
		}
		for _, generation := range []uint64{1, second.Generation, event.Generation} {
			path := strings.NewReplacer("{name}", "haproxy", "{generation}", fmt.Sprint(generation)).Replace(r.path)
			for _, query := range []string{"", "?limit=1", "?file=site.pem", "?summary=true"} {
				_, body := env.get(path + query)
				if strings.Contains(body, secret) {
					t.Errorf("%s: %s", path+query, body)
				}
				masked += strings.Count(body, "***")
			}
		}
	}
	if masked < 100 {
		t.Errorf("only %d secrets were masked: the answers lack what this test is about", masked)
	}
	reader := env.cfg.Events.reader(env.cfg.Events.id(0))
	if events := string(reader.next(t.Context())); strings.Contains(events, secret) || !strings.Contains(events, "***") {
		t.Errorf("events: %s", events)
	}
}

func TestDocument_FilesAndDiff(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	env.applied(3)
	second := env.applied(4)
	one := fmt.Sprintf("%s/%d", generationsPath, second.Generation)
	code, main := env.get(one + "/document")
	if code != 200 || !strings.Contains(main, "stats auth ***\n") || !strings.Contains(main, "    server 3 192.0.2.1:80") {
		t.Errorf("the main file: %d %s", code, main)
	}
	code, pem := env.get(one + "/document?file=site.pem")
	if code != 200 || !strings.HasPrefix(pem, "-----BEGIN PRIVATE KEY-----***") {
		t.Errorf("the companion: %d %s", code, pem)
	}
	if code, body := env.get(one + "/document?file=x"); code != 404 || !strings.Contains(body, "haproxy.cfg, site.pem") {
		t.Errorf("an unknown file: %d %s", code, body)
	}
	resp := env.do(request{path: one + "/diff"})
	diff, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/x-diff") ||
		!strings.Contains(string(diff), "\n+    server 3 192.0.2.1:80") || strings.Contains(string(diff), "\n+    server 2 ") {
		t.Errorf("the diff: %d %v\n%s", resp.StatusCode, resp.Header, diff)
	}
}

func TestGenerations_FiltersAndPages(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	log, err := env.engine.History("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	actions := []string{sdk.ActionRuntime, sdk.ActionReload, "invented", ""}
	for i := range 12 {
		c := history.Change{
			Generation: log.Next(), Trigger: history.Trigger{Kind: history.TriggerPush}, Outcome: history.OutcomeApplied,
			Action: actions[i%len(actions)], Updated: start.Add(time.Duration(i) * time.Hour),
			Instances: slices.Repeat([]string{"web: +node"}, 12), InstancesMore: 3,
			Commands: []history.Command{{Sent: "x"}, {Sent: "y"}}, CommandsMore: 1, Steps: []history.Step{{Name: "check"}},
			Details: []string{"d"}, Notes: []string{"n"}, Excluded: []string{"e"},
		}
		if c.Action == "" {
			c.Outcome, c.Trigger.Kind, c.Event = history.OutcomeEvent, history.TriggerSink, sdk.EventDriftRepaired
		}
		log.Put(c, "diff")
	}
	for query, want := range map[string]string{
		"":                       "12 11 10 9 8 7 6 5 4 3 2 1",
		"limit=5":                "12 11 10 9 8, next 8",
		"limit=12":               "12 11 10 9 8 7 6 5 4 3 2 1",
		"before=8&limit=5":       "7 6 5 4 3, next 3",
		"before=3&limit=5":       "2 1",
		"before=1":               "",
		"action=reload":          "10 6 2",
		"action=reload,runtime":  "10 9 6 5 2 1",
		"action=other":           "11 7 3",
		"action=reload&limit=2":  "10 6, next 6",
		"action=reload&before=6": "2",
		"action=drift_repaired":  "12 8 4",
		"outcome=event":          "12 8 4",
		"outcome=rejected":       "",
		"trigger=sink,push":      "12 11 10 9 8 7 6 5 4 3 2 1",
		"trigger=sink":           "12 8 4",
		"action=&outcome=&trigger=&since=2026-01-02T12:04:05Z": "12 11 10",
	} {
		code, body := env.get(generationsPath + "?" + query)
		var page Generations
		if err := json.Unmarshal([]byte(body), &page); err != nil || code != 200 {
			t.Fatalf("%s: %d %s", query, code, body)
		}
		var got strings.Builder
		for _, c := range page.Changes {
			fmt.Fprintf(&got, "%d ", c.Generation)
			if len(c.Commands)+len(c.Steps)+len(c.Details)+len(c.Notes)+len(c.Excluded) > 0 || c.CommandsMore != 3 ||
				len(c.Instances) != 10 || c.InstancesMore != 5 {
				t.Errorf("%s: no summary: %+v", query, c)
			}
		}
		text := strings.TrimSpace(got.String())
		if page.Next != 0 {
			text += fmt.Sprintf(", next %d", page.Next)
		}
		if text != want {
			t.Errorf("%s: got %s, want %s", query, text, want)
		}
	}
	var one history.Change
	code, body := env.get(generationsPath + "/3")
	if code != 200 || json.Unmarshal([]byte(body), &one) != nil || len(one.Commands) != 2 {
		t.Errorf("one change: %d %s", code, body)
	}
}

func TestGenerations_InvalidRequests(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	first := env.applied(3).Generation
	document := fmt.Sprintf("%s/%d/document", generationsPath, first)
	for path, want := range map[string]struct {
		code int
		text string // in the error
	}{
		generationsPath + "?limit=0":                            {400, "limit"},
		generationsPath + "?limit=201":                          {400, "limit"},
		generationsPath + "?limit=x":                            {400, "limit"},
		generationsPath + "?before=0":                           {400, "before"},
		generationsPath + "?before=-1":                          {400, "before"},
		generationsPath + "?since=yesterday":                    {400, "since"},
		generationsPath + "?outcome=fine":                       {400, "outcome"},
		generationsPath + "?trigger=me":                         {400, "trigger"},
		generationsPath + "?action=x":                           {400, "action"},
		generationsPath + "?" + url.QueryEscape("é\x1b") + "=1": {400, "parameter"},
		generationsPath + "/x":                                  {400, "generation"},
		generationsPath + "/0":                                  {400, "generation"},
		generationsPath + "/99999999999999999999":               {400, "generation"},
		generationsPath + "/1000":                               {404, "1000"},
		generationsPath + "/1000/diff":                          {404, "1000"},
		generationsPath + "/1000/document":                      {404, "1000"},
		document + "?raw=maybe":                                 {400, "raw"},
		document + "?rwa=true":                                  {400, "rwa"},
		document + "?raw=false&raw=true":                        {400, "raw"},
		generationsPath + "?limit=1&limit=2":                    {400, "limit"},
		generationsPath + "?limit=%zz":                          {400, "parameters"},
		generationsPath + "?limit=1;before=2":                   {400, "parameters"},
		"/api/v1/pipelines/other/generations":                   {404, "pipeline"},
		"/api/v1/pipelines/other/generations/1":                 {404, "pipeline"},
	} {
		code, body := env.get(path)
		var answer struct{ Errors []string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != want.code || len(answer.Errors) != 1 ||
			!strings.Contains(answer.Errors[0], want.text) {
			t.Errorf("%s answered %d %s, want %d about %s", path, code, body, want.code, want.text)
		}
	}
}

// What was dropped is gone, which is not the same as what never was.
func TestGenerations_NoLongerKept(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	first := env.applied(3).Generation
	log, err := env.engine.History("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	dropped := history.Change{Generation: log.Next(), Document: 1000, DiffDropped: true, Outcome: history.OutcomeFailed}
	log.Put(dropped, "")
	for _, part := range []string{"/diff", "/document"} {
		if code, body := env.get(fmt.Sprintf("%s/%d%s", generationsPath, dropped.Generation, part)); code != 410 {
			t.Errorf("%s: %d %s", part, code, body)
		}
	}
	for range maxPage + 1 {
		log.Put(history.Change{Generation: log.Next(), Outcome: history.OutcomeApplied, Updated: time.Now()}, "")
	}
	for _, part := range []string{"", "/diff", "/document"} {
		if code, body := env.get(fmt.Sprintf("%s/%d%s", generationsPath, first, part)); code != 410 {
			t.Errorf("the first generation%s: %d %s", part, code, body)
		}
	}
}

// The raw document needs the token or a client certificate, or is only for clients on this machine. Pages of other origins and
// clients behind a proxy do not get it.
func TestRawDocument_Access(t *testing.T) {
	bearer := map[string]string{"Authorization": "Bearer " + token}
	with := func(base map[string]string, name, value string) map[string]string {
		header := map[string]string{name: value}
		for name, value := range base {
			header[name] = value
		}
		return header
	}
	network := netip.MustParsePrefix("198.51.100.0/24")
	open := AccessConfig{}
	guarded := AccessConfig{Token: token}
	for name, test := range map[string]struct {
		access AccessConfig
		request
		want int
	}{
		"nothing configured, another machine": {open, request{}, 403},
		"nothing configured, IPv4 loopback":   {open, request{peer: "127.0.0.1:1"}, 200},
		"nothing configured, IPv6 loopback":   {open, request{peer: "[::1]:1"}, 200},
		"nothing configured, mapped loopback": {open, request{peer: "[::ffff:127.0.0.1]:1"}, 200},
		"nothing configured, a local proxy": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "X-Forwarded-For", "192.0.2.1")}, 403,
		},
		"nothing configured, Forwarded": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Forwarded", "for=192.0.2.1")}, 403,
		},
		"nothing configured, Via": {open, request{peer: "127.0.0.1:1", header: with(nil, "Via", "1.1 x")}, 403},
		"nothing configured, X-Real-IP": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "X-Real-IP", "192.0.2.1")}, 403,
		},
		"nothing configured, X-Client-IP": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "X-Client-IP", "192.0.2.1")}, 403,
		},
		"nothing configured, a proxy that keeps the name":    {open, request{peer: "127.0.0.1:1", host: "edge:7778"}, 403},
		"nothing configured, a proxy that keeps the address": {open, request{peer: "127.0.0.1:1", host: "192.0.2.1"}, 403},
		"nothing configured, an IPv6 address of loopback":    {open, request{peer: "[::1]:1", host: "[::1]:7778"}, 200},
		"nothing configured, an address of loopback":         {open, request{peer: "127.0.0.1:1", host: "127.0.0.1"}, 200},
		"nothing configured, some token":                     {open, request{header: bearer}, 403},
		"nothing configured, an empty token":                 {open, request{header: with(nil, "Authorization", "Bearer ")}, 403},
		"own page on loopback": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Sec-Fetch-Site", "same-origin")}, 200,
		},
		"typed in a browser on loopback": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Sec-Fetch-Site", "none")}, 200,
		},
		"a page of another site": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Sec-Fetch-Site", "cross-site")}, 403,
		},
		"a page of another port": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Sec-Fetch-Site", "same-site")}, 403,
		},
		"another origin in an older browser": {
			open, request{peer: "127.0.0.1:1", header: with(nil, "Origin", "http://localhost:1")}, 403,
		},
		"a page that rebinds its name": {
			open, request{peer: "127.0.0.1:1", host: "evil.example", header: with(nil, "Sec-Fetch-Site", "same-origin")}, 403,
		},
		"a name of the page without such names": {open, request{peer: "127.0.0.1:1", host: "evil.example"}, 403},
		"an allowed origin of cors_origins": {AccessConfig{CORSOrigins: []string{"*"}},
			request{peer: "127.0.0.1:1", header: with(nil, "Origin", "https://page.example")}, 403},

		"the token": {guarded, request{header: bearer}, 200},
		"the token as a password": {
			guarded, request{header: with(nil, "Authorization", "Basic eDpzM2NyZXQtbWFya2Vy")}, 200,
		},
		"no token":                       {guarded, request{}, 401},
		"no token on loopback":           {guarded, request{peer: "127.0.0.1:1"}, 401},
		"a wrong token":                  {guarded, request{header: with(nil, "Authorization", "Bearer x")}, 401},
		"the token in the own page":      {guarded, request{header: with(bearer, "Sec-Fetch-Site", "same-origin")}, 200},
		"the token in a page of another": {guarded, request{header: with(bearer, "Sec-Fetch-Site", "cross-site")}, 403},
		"the token in an allowed page": {
			AccessConfig{Token: token, CORSOrigins: []string{"https://page.example"}},
			request{header: with(bearer, "Origin", "https://page.example")}, 403,
		},
		"the token and a name that rebinds": {
			guarded, request{host: "evil.example", header: with(bearer, "Sec-Fetch-Site", "same-origin")}, 403,
		},
		"reads are protected, no token":  {AccessConfig{Token: token, ProtectReads: true}, request{peer: "127.0.0.1:1"}, 401},
		"reads are protected, the token": {AccessConfig{Token: token, ProtectReads: true}, request{header: bearer}, 200},
		"the token outside allow_from": {
			AccessConfig{Token: token, AllowFrom: []netip.Prefix{network}}, request{header: bearer}, 403,
		},
		"the token inside allow_from": {
			AccessConfig{Token: token, AllowFrom: []netip.Prefix{network}}, request{peer: "198.51.100.7:1", header: bearer},
			200,
		},
		"inside allow_from without a token": {
			AccessConfig{AllowFrom: []netip.Prefix{network}}, request{peer: "198.51.100.7:1"}, 403,
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := newAPIEnv(t, test.access)
			first := env.applied(3).Generation
			test.path = fmt.Sprintf("%s/%d/document?raw=true", generationsPath, first)
			resp := env.do(test.request)
			body, _ := io.ReadAll(resp.Body)
			shown := strings.Contains(string(body), "stats auth admin:"+secret)
			if resp.StatusCode != test.want || shown != (test.want == 200) {
				t.Errorf("%d, want %d: %s", resp.StatusCode, test.want, body)
			}
			if kept := resp.Header.Get("Cache-Control"); kept != "no-store" {
				t.Errorf("Cache-Control %q", kept)
			}
		})
	}
}

// A writeCounter counts what it gets.
type writeCounter struct {
	bytes.Buffer
	largest int
}

func (w *writeCounter) Write(content []byte) (int, error) {
	w.largest = max(w.largest, len(content))
	return w.Buffer.Write(content)
}

// A client that reads slowly holds only a small part of a large document.
func TestWriteMasked(t *testing.T) {
	var text strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&text, "    server node-%d 192.0.2.1:80 # password %s\n", i, secret)
	}
	w := &writeCounter{}
	writeMasked(w, []byte(text.String()))
	if want := engine.Masked(text.String()); w.String() != want || w.largest > maskedBytes+100 {
		t.Errorf("%d bytes, want %d; %d bytes at once", w.Len(), len(want), w.largest)
	}
	key := strings.Repeat("x\n", maskedBytes/2-10) + "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"
	for _, text := range []string{key, "", "no newline", strings.Repeat("y", 2*maskedBytes)} {
		w = &writeCounter{}
		writeMasked(w, []byte(text))
		if want := engine.Masked(text); w.String() != want || strings.Contains(want, secret) {
			t.Errorf("%d bytes, want %d", w.Len(), len(want))
		}
	}
}
