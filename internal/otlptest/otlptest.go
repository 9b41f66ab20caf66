// Package otlptest is an OTLP receiver for tests.
package otlptest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A Span is what tests compare of a span.
type Span struct {
	Trace, ID, Parent string // in hexadecimal; Parent is empty for a root span
	Name, Scope       string
	IsClient          bool
	Failed            bool
	Begin, End        time.Time
	Attributes        map[string]string // of the span and its resource
}

// A Collector keeps the spans that it receives.
type Collector struct {
	URL string

	status   atomic.Int32
	requests atomic.Int32

	mu    sync.Mutex
	paths map[string]bool
	all   []Span
}

// Start starts a collector that is closed at the end of the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{paths: map[string]bool{}}
	c.status.Store(http.StatusOK)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// SetStatus sets the status of the answers. The collector keeps spans only with 200.
func (c *Collector) SetStatus(status int) {
	c.status.Store(int32(status)) //nolint:gosec // a status
}

// Requests returns how many requests the collector has received.
func (c *Collector) Requests() int { return int(c.requests.Load()) }

// Paths returns the paths of the requests, sorted.
func (c *Collector) Paths() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.paths))
}

// Spans returns the spans in the order of their arrival.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
				c.all = append(c.all, Span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					Parent: hex.EncodeToString(s.GetParentSpanId()), Name: s.GetName(), Scope: scope.GetScope().GetName(),
					IsClient: s.GetKind() == otlp.Span_SPAN_KIND_CLIENT,
					Failed:   s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR,
					Begin:    timeOf(s.GetStartTimeUnixNano()), End: timeOf(s.GetEndTimeUnixNano()),
					Attributes: textOf(append(s.GetAttributes(), resource.GetResource().GetAttributes()...)),
				})
			}
		}
	}
}

func textOf(all []*common.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, a := range all {
		texts[a.GetKey()] = a.GetValue().GetStringValue()
		if n, ok := a.GetValue().GetValue().(*common.AnyValue_IntValue); ok {
			texts[a.GetKey()] = strconv.FormatInt(n.IntValue, 10)
		}
	}
	return texts
}

func timeOf(nanoseconds uint64) time.Time {
	return time.Unix(0, int64(nanoseconds)) //nolint:gosec // far from the limit
}
