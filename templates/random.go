package templates

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// randomFunctions return something else at every call.
var randomFunctions = strings.Fields("randAlpha randAlphaNum randNumeric randAscii randBytes randInt shuffle uuidv4 bcrypt " +
	"htpasswd encryptAES genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert " +
	"genSignedCertWithKey")

// A randomSource keeps what random functions returned first, so that the same template renders the same again and no proxy is
// reloaded without need. A result is kept by the function, its arguments, the service or instance that the template is at, and
// the number of such calls before: a new instance changes nothing for others.
//
// It belongs to a Set, and all versions of its template use it. Results that renderings no longer ask for are removed from time
// to time. Its methods may be called from any goroutine.
type randomSource struct {
	mu         sync.Mutex
	results    map[string]*randomResult
	renderings uint64
	used       int // results that were asked for since the last rendering ended
}

type randomResult struct {
	values    []reflect.Value
	rendering uint64 // the last one that asked for it
}

func newRandomSource() *randomSource { return &randomSource{results: map[string]*randomResult{}} }

// result returns what is kept for the key, or else what fn returns. If fn panics, nothing is kept.
func (s *randomSource) result(key string, fn func() []reflect.Value) []reflect.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.results[key]
	if !ok {
		r = &randomResult{values: fn()}
		s.results[key] = r
	}
	if r.rendering != s.renderings {
		r.rendering = s.renderings
		s.used++
	}
	return r.values
}

// endRendering removes the results that the rendering did not ask for, once they are the greater part.
func (s *randomSource) endRendering() {
	const spare = 1000 // for other templates of the set, such as the active one beside a candidate
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.results) > 4*s.used+spare {
		for key, r := range s.results {
			if r.rendering != s.renderings {
				delete(s.results, key)
			}
		}
	}
	s.renderings, s.used = s.renderings+1, 0
}

// repeatable returns the random function fn so that it returns what is kept.
func (x *execution) repeatable(name string, fn any) any {
	v := reflect.ValueOf(fn)
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		fresh := func() []reflect.Value { return call(v, args) }
		kept := x.t.random.result(x.randomKey(name, args), fresh)
		if x.varied == name {
			return differentResult(kept, fresh)
		}
		return kept
	}).Interface()
}

// randomKey returns the key of the next result of such a call. Keys and passwords are among the arguments, so it is a hash.
func (x *execution) randomKey(name string, args []reflect.Value) string {
	var text strings.Builder
	text.WriteString(name)
	for _, arg := range args {
		fmt.Fprintf(&text, " %#v", arg.Interface())
	}
	text.WriteString(" " + describeOwner(x.recorder.Owner()))
	call := hash(text.String())
	x.randomCalls[call]++
	return fmt.Sprintf("%s %d", call, x.randomCalls[call])
}

// differentResult returns a result of fn other than kept, or kept if fn seems to return nothing else.
func differentResult(kept []reflect.Value, fn func() []reflect.Value) []reflect.Value {
	const tries = 20
	for range tries {
		if fresh := fn(); !reflect.DeepEqual(fresh[0].Interface(), kept[0].Interface()) {
			return fresh
		}
	}
	return kept
}
