package tracing

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A span is what a test compares of a span.
type span struct {
	trace, id, parent string
	name, scope       string
	kind              otlp.Span_SpanKind
	failed            bool
	begin, end        time.Time
	attributes        map[string]string
}

// testCollector is an OTLP receiver.
type testCollector struct {
	url      string
	status   atomic.Int32 // of its answers
	requests atomic.Int32

	mu    sync.Mutex
	paths map[string]bool
	all   []span
}

func newCollector(t *testing.T) *testCollector {
	t.Helper()
	c := &testCollector{paths: map[string]bool{}}
	c.status.Store(http.StatusOK)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *testCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.requests.Add(1)
	body, err := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var reader io.Reader
		if reader, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(reader)
		}
	}
	var request collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if status := int(c.status.Load()); status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths[r.URL.Path] = true
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.all = append(c.all, span{
					trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()),
					parent: hex.EncodeToString(s.GetParentSpanId()), name: s.GetName(), scope: scope.GetScope().GetName(),
					kind: s.GetKind(), failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR,
					begin: time.Unix(0, int64(s.GetStartTimeUnixNano())), end: time.Unix(0, int64(s.GetEndTimeUnixNano())),
					attributes: textOf(append(s.GetAttributes(), resource.GetResource().GetAttributes()...)),
				})
			}
		}
	}
}

func (c *testCollector) spans() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

func textOf(all []*common.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, a := range all {
		texts[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return texts
}
