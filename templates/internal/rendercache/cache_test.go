package rendercache

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func service(instances ...sdk.Instance) Service { return Service{Instances: instances, Facts: "facts"} }

// store returns a cache with one iteration that depends on web and db.
func store(web, db Service) *Cache {
	c := &Cache{}
	c.Store(1, "web", Iteration{
		Variables: []any{1}, Services: map[string]Service{"web": web, "db": db}, Output: []byte("output"),
	})
	return c
}

func lookup(c *Cache, loop int, name string, variables []any, web, db Service) *Iteration {
	return c.Lookup(loop, name, variables, func(name string) Service {
		return map[string]Service{"web": web, "db": db}[name]
	})
}

func TestCache_LookupComparesDependencies(t *testing.T) {
	t.Parallel()
	web := service(sdk.Instance{ID: "1"})
	c := store(web, Service{})
	same := service(sdk.Instance{ID: "1"})
	if it := lookup(c, 1, "web", []any{1}, same, Service{}); it == nil || string(it.Output) != "output" {
		t.Errorf("%v, want the stored iteration", it)
	}
	for name, it := range map[string]*Iteration{
		"another range":          lookup(c, 2, "web", []any{1}, web, Service{}),
		"another service":        lookup(c, 1, "db", []any{1}, web, Service{}),
		"another variable":       lookup(c, 1, "web", []any{2}, web, Service{}),
		"another type":           lookup(c, 1, "web", []any{int64(1)}, web, Service{}),
		"another instance":       lookup(c, 1, "web", []any{1}, service(sdk.Instance{ID: "2"}), Service{}),
		"other facts":            lookup(c, 1, "web", []any{1}, Service{web.Instances, "other"}, Service{}),
		"another other service":  lookup(c, 1, "web", []any{1}, web, service(sdk.Instance{ID: "1"})),
		"fewer instances":        lookup(c, 1, "web", []any{1}, service(), Service{}),
		"a variable that is NaN": lookup(c, 1, "web", []any{math.NaN()}, web, Service{}),
	} {
		if it != nil {
			t.Errorf("%s: found an iteration", name)
		}
	}
}

// A template can print every field of an instance.
func TestCache_LookupComparesEveryField(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, inst := range map[string]sdk.Instance{
		"Name": {Name: "x"}, "Image": {Image: "x"}, "Created": {Created: now}, "Hostname": {Hostname: "x"},
		"Updated": {Updated: now}, "ProxyMode": {ProxyMode: "x"}, "Status": {Status: 1}, "Invalid": {Invalid: "x"},
		"Ports": {Ports: []sdk.Port{{Port: 1}}}, "no ports": {Ports: []sdk.Port{}},
		"Labels": {Labels: map[string]string{"x": "y"}}, "no labels": {Labels: map[string]string{}},
	} {
		c := store(service(sdk.Instance{}), Service{})
		if lookup(c, 1, "web", []any{1}, service(inst), Service{}) != nil {
			t.Errorf("%s: found an iteration", name)
		}
	}
}

func TestCache_LookupReleasesOldInstances(t *testing.T) {
	t.Parallel()
	c := store(service(sdk.Instance{ID: "1"}), Service{})
	web := service(sdk.Instance{ID: "1"})
	it := lookup(c, 1, "web", []any{1}, web, Service{})
	if &it.Services["web"].Instances[0] != &web.Instances[0] {
		t.Error("the iteration holds on to the instances that it was stored with")
	}
}

func TestCache_EndExecutionRemovesUnused(t *testing.T) {
	t.Parallel()
	web := service(sdk.Instance{ID: "1"})
	for name, tt := range map[string]struct {
		lookUp, failed bool
		want           int
	}{
		"used": {true, false, 1}, "unused": {false, false, 0}, "failed": {true, true, 0},
	} {
		c := store(web, Service{})
		c.EndExecution(false)
		if tt.lookUp {
			lookup(c, 1, "web", []any{1}, web, Service{})
		}
		c.EndExecution(tt.failed)
		if c.Len() != tt.want {
			t.Errorf("%s: %d iterations are kept, want %d", name, c.Len(), tt.want)
		}
	}
}

func TestAreScalars(t *testing.T) {
	t.Parallel()
	if !AreScalars([]any{nil, true, 1, 1.5, "x", sdk.Alive, strings.Repeat("x", 1024)}) {
		t.Error("scalars are not recognised")
	}
	for _, v := range []any{
		[]string{}, map[string]any{}, &sdk.Port{}, sdk.Port{}, time.Now(), strings.Repeat("x", 1025), slices.Max[[]int],
	} {
		if AreScalars([]any{1, v}) {
			t.Errorf("%T is taken for a scalar", v)
		}
	}
}
