package templates

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// byChance are the functions that return something else at every call. What they return is kept: see [chance].
var byChance = strings.Fields("randAlpha randAlphaNum randNumeric randAscii randBytes randInt shuffle uuidv4 bcrypt htpasswd " +
	"encryptAES genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey")

// A chance remembers what functions that return something else at every call returned first, so that the same template renders
// the same again and no proxy is reloaded for nothing. What a call returns is kept by the function, its arguments, the service
// or instance that the template was at, and how many such calls there were before: a new instance changes nothing for others.
//
// It is as old as its Set. Values that no rendering asks for any more are forgotten some time.
type chance struct {
	mu   sync.Mutex
	kept map[string]*drawn
	runs uint64
	used int // by the newest run
}

// A drawn is what a call returned.
type drawn struct {
	results []reflect.Value
	run     uint64 // the newest one that asked for it
}

func newChance() *chance { return &chance{kept: map[string]*drawn{}} }

// draw returns what was kept for the key, or else what fn returns. A fault of fn is not kept.
func (c *chance) draw(key string, fn func() []reflect.Value) []reflect.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.kept[key]
	if !ok {
		d = &drawn{results: fn()}
		c.kept[key] = d
	}
	if d.run != c.runs {
		d.run = c.runs
		c.used++
	}
	return d.results
}

// endRun forgets what was not asked for, once that is the greater part.
func (c *chance) endRun() {
	const slack = 1000 // other templates of the set may come back, such as the active one beside a candidate
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) > 4*c.used+slack {
		for key, d := range c.kept {
			if d.run != c.runs {
				delete(c.kept, key)
			}
		}
	}
	c.runs, c.used = c.runs+1, 0
}

// keeping returns fn so that it returns what it returned before.
func (r *run) keeping(name string, fn any) any {
	v := reflect.ValueOf(fn)
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		kept := r.chance.draw(r.drawKey(name, args), func() []reflect.Value { return call(v, args) })
		if r.varied == name {
			return another(kept, func() []reflect.Value { return call(v, args) })
		}
		return kept
	}).Interface()
}

func (r *run) drawKey(name string, args []reflect.Value) string {
	var text strings.Builder
	text.WriteString(name)
	for _, arg := range args {
		fmt.Fprintf(&text, " %#v", arg.Interface())
	}
	text.WriteString(" " + describeOwner(r.recorder.Owner()))
	call := hash(text.String()) // keys and passwords are among the arguments
	r.drawn[call]++
	return fmt.Sprintf("%s %d", call, r.drawn[call])
}

// another returns what fn returns when it is not what was kept, and the same where it always is.
func another(kept []reflect.Value, fn func() []reflect.Value) []reflect.Value {
	const tries = 20
	for range tries {
		if fresh := fn(); !reflect.DeepEqual(fresh[0].Interface(), kept[0].Interface()) {
			return fresh
		}
	}
	return kept
}
