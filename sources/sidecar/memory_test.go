package sidecar

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// largeBody is the length of the bodies whose cost is measured.
const largeBody = 10 << 20

// filled returns a body of about largeBody bytes: the results of each for 0, 1 and so on, between opening and closing.
func filled(opening string, each func(n int) string, closing string) []byte {
	body := bytes.NewBuffer(make([]byte, 0, largeBody+4096))
	body.WriteString(opening)
	for n := 0; body.Len() < largeBody; n++ {
		if n > 0 {
			body.WriteByte(',')
		}
		body.WriteString(each(n))
	}
	body.WriteString(closing)
	return body.Bytes()
}

func always(text string) func(int) string { return func(int) string { return text } }

// many returns text n times, separated by commas.
func many(text string, n int) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }

func numbered(n int, format string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return strings.Join(all, ",")
}

// heapDuring returns by how many bytes the heap grows at most while do runs, and how many bytes are allocated in all. Garbage is
// limited to a tenth of the heap, since it otherwise depends on the rest of the program.
func heapDuring(do func()) (peak, allocated uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	inUse := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	done, over, often := make(chan struct{}), make(chan struct{}), time.Tick(time.Millisecond)
	go func() {
		defer close(over)
		for {
			metrics.Read(inUse)
			peak = max(peak, inUse[0].Value.Uint64())
			select {
			case <-done:
				return
			case <-often:
			}
		}
	}()
	do()
	close(done)
	<-over
	runtime.ReadMemStats(&after)
	return peak - min(peak, before.HeapAlloc), after.TotalAlloc - before.TotalAlloc
}

// A push takes about three times its length of memory at most, whatever its content is.
func TestPush_MemoryIsBounded(t *testing.T) {
	const (
		opening = `{"State":{"Servers":{"h":{"Name":"h","Services":{`
		closing = `}}}}}`
		one     = `{"State":{"Servers":{"h":{"Name":"h","Services":{"1":{"ID":"1","Name":"a","Hostname":"h",`
		oneEnds = `}}}}}}`
	)
	ports, labels := many("{}", 256), numbered(256, `"%x":""`)
	small := many(`{"Type":"tcp","Port":1,"IP":"h.x"}`, 256)
	for name, bodyOf := range map[string]func() []byte{
		"a catalogue of 30,000 instances": func() []byte {
			return filled(opening, func(n int) string {
				return fmt.Sprintf(`"%012x":{"ID":"%012x","Name":"service-%d","Image":"registry/image:1","Hostname":"h",`+
					`"Ports":[{"Type":"tcp","Port":%d,"ServicePort":%d,"IP":"10.0.0.1"}],"Created":"2026-11-22T07:44:54Z",`+
					`"Updated":"2026-11-22T07:44:54Z","ProxyMode":"http","Status":0}`, n, n, n%500, 20000+n%1000, 8000+n%500)
			}, closing)
		},
		"tiny instances": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{}`, n) }, closing)
		},
		"tiny hosts": func() []byte {
			return filled(`{"State":{"Servers":{`, func(n int) string { return fmt.Sprintf(`"%x":{"Services":{}}`, n) }, `}}}`)
		},
		"no hosts": func() []byte {
			return filled(`{"State":{"Servers":{`, func(n int) string { return fmt.Sprintf(`"%x":null`, n) }, `}}}`)
		},
		"services": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"Name":"%x"}`, n, n) }, closing)
		},
		"ports of one": func() []byte { return filled(one+`"Ports":[`, always(`{}`), `]`+oneEnds) },
		"labels of one": func() []byte {
			return filled(one+`"Labels":{`, func(n int) string { return fmt.Sprintf(`"%x":""`, n) }, `}`+oneEnds)
		},
		"ports of many": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"Ports":[%s]}`, n, ports) }, closing)
		},
		"small ports": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"Ports":[%s]}`, n, small) }, closing)
		},
		"labels of many": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"Labels":{%s}}`, n, labels) }, closing)
		},
		"ports again": func() []byte { return filled(one, always(`"Ports":[`+small+`]`), oneEnds) },
		"ports of the change": func() []byte {
			return filled(`{"State":{"Servers":{}},"ChangeEvent":{"Service":{"Ports":[`, always(`{}`), `]}}}`)
		},
		"a long string": func() []byte { return filled(one+`"Image":"`, always("x"), `"`+oneEnds) },
		"escapes":       func() []byte { return filled(one+`"Image":"`, always(`\u0041`), `"`+oneEnds) },
		"long strings": func() []byte {
			return filled(opening, func(n int) string {
				return fmt.Sprintf(`"%x":{"Image":"%s"}`, n, strings.Repeat(`\u0041`, 10_000))
			}, closing)
		},
		"unknown members": func() []byte {
			return filled(`{"State":{"Servers":{}},"X":{`, func(n int) string { return fmt.Sprintf(`"%x":0`, n) }, `}}`)
		},
		"unknown in many": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"X":{%s}}`, n, labels) }, closing)
		},
		"deep": func() []byte {
			return filled(`{"State":{"Servers":{}},"X":[`, always(strings.Repeat("[", 9000)+strings.Repeat("]", 9000)), `]}`)
		},
		"too deep": func() []byte { return filled(`{"State":{"Servers":{}},"X":`, always(strings.Repeat("[", 1<<20)), `}`) },
		"wrong types": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":{"ID":1,"Name":2,"Ports":3}`, n) }, closing)
		},
		"no instances": func() []byte {
			return filled(opening, func(n int) string { return fmt.Sprintf(`"%x":[]`, n) }, closing)
		},
		"escaped, instances": func() []byte {
			return filled(opening+`"\u0030":{},`, func(n int) string { return fmt.Sprintf(`"%x":{}`, n+1) }, closing)
		},
		"escaped, labels": func() []byte {
			return filled(opening+`"\u0030":{},`, func(n int) string {
				return fmt.Sprintf(`"%x":{"Labels":{%s}}`, n+1, labels)
			}, closing)
		},
		"white space": func() []byte {
			return filled(`{"State":{"Servers":{}}`+strings.Repeat(" ", largeBody), always(`"X":0`), `}`)
		},
		"no JSON": func() []byte { return filled(``, always(`{`), ``) },
	} {
		t.Run(name, func(t *testing.T) {
			p, body := newTestPush(t, func(c *PushConfig) { c.MaxBody = MaxState }), bodyOf()
			w := httptest.NewRecorder()
			peak, allocated := heapDuring(func() {
				p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/update", bytes.NewReader(body)))
			})
			times := float64(peak) / float64(len(body))
			t.Logf("%s: %.1f times its length, %.1f allocated: %d", name, times, float64(allocated)/float64(len(body)), w.Code)
			if times > 4 || allocated > 8*uint64(len(body)) {
				t.Errorf("a body took %.1f times its length: %d %s", times, w.Code, w.Body)
			}
		})
	}
}
