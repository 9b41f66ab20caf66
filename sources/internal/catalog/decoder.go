package catalog

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Decoder reads the states of one catalogue, one after the other, at the cost of what changed: the instances whose bytes are
// those of the time before are not decoded again, and services without a change are the same slices as before. It returns
// what the functions of its methods' names return, which are slower, and which it leaves to read whatever is unusual.
//
// The zero Decoder is ready. It is for one goroutine, and keeps the content that it was given last, which must not be changed.
type Decoder struct {
	servers  map[string]*knownServer
	services map[string]knownService
	run      uint64          // counts contents
	met      []*sdk.Instance // in this run, in order
}

type knownServer struct {
	run       uint64 // the last one that it was met in
	instances map[string]*knownInstance
}

type knownInstance struct {
	run      uint64
	content  []byte // an object, to its end
	instance *sdk.Instance
}

// A knownService is what became of the instances of a name.
type knownService struct {
	from   []*sdk.Instance
	sorted []sdk.Instance
}

// DecodeEvent is the function [DecodeEvent].
func (d *Decoder) DecodeEvent(content []byte) (sdk.Snapshot, error) {
	var e event
	w := &walker{content: content}
	if snap, ok := d.decode(w, func() bool {
		var s state
		ok := w.object("State", func() bool { return d.state(w, &s) }, &e)
		e.State = &s
		return ok
	}, &e); ok {
		return snap, nil
	}
	return DecodeEvent(content)
}

// DecodeWatch is the function [DecodeWatch].
func (d *Decoder) DecodeWatch(content []byte) (sdk.Snapshot, error) {
	var e event
	w := &walker{content: content}
	if snap, ok := d.decode(w, func() bool {
		e.State = &state{}
		return d.state(w, e.State)
	}, &e); ok {
		return snap, nil
	}
	return DecodeWatch(content)
}

// decode has walk fill e and returns its snapshot. Where that does not work out, all that is known is forgotten.
func (d *Decoder) decode(w *walker, walk func() bool, e *event) (sdk.Snapshot, bool) {
	d.run++
	d.met = make([]*sdk.Instance, 0, len(d.met)+1)
	if fault := oversize(w.content); fault != nil || !walk() || !w.isOver() {
		*d = Decoder{}
		return sdk.Snapshot{}, false
	}
	d.forgetTheRest()
	snap := e.snapshot()
	snap.Services = d.group()
	return snap, true
}

func (d *Decoder) state(w *walker, s *state) bool {
	return w.object("Servers", func() bool {
		return w.members(func(name string) bool { return d.server(w, name) })
	}, s)
}

func (d *Decoder) server(w *walker, name string) bool {
	srv := d.servers[name]
	if srv == nil {
		srv = &knownServer{instances: map[string]*knownInstance{}}
		if d.servers == nil {
			d.servers = map[string]*knownServer{}
		}
		d.servers[name] = srv
	}
	if srv.run == d.run { // twice
		return false
	}
	srv.run = d.run
	return w.object("Services", func() bool {
		return w.members(func(id string) bool { return d.instance(w, srv, name, id) })
	}, &server{})
}

func (d *Decoder) instance(w *walker, srv *knownServer, hostname, id string) bool {
	known := srv.instances[id]
	if known == nil {
		known = &knownInstance{}
		srv.instances[id] = known
	}
	if known.run == d.run || !known.read(w, hostname, id) {
		return false
	}
	known.run = d.run
	d.met = append(d.met, known.instance)
	return true
}

// read goes through the value, which has to be an object. The instance is the one before, where nothing but its Updated time
// differs.
func (k *knownInstance) read(w *walker, hostname, id string) bool {
	w.space()
	start := w.at
	if k.content != nil && bytes.HasPrefix(w.content[start:], k.content) {
		// An object ends with its last byte, so whatever follows does not belong to it.
		w.at += len(k.content)
		k.content = w.content[start:w.at] // the old content can go
		return true
	}
	if !bytes.HasPrefix(w.content[start:], []byte("{")) || !w.skip() {
		return false
	}
	before := k.content
	k.content = w.content[start:w.at]
	if before != nil && onlyUpdatedDiffers(before, k.content) {
		return true
	}
	read := entry{readInstance(k.content)}
	if read.Invalid != "" && !json.Valid(k.content) {
		return false
	}
	read.named(hostname, id)
	if k.instance == nil || !sdk.SameInstance(*k.instance, read.Instance) {
		k.instance = &read.Instance // others have the one before
	}
	return true
}

// onlyUpdatedDiffers reports whether two objects have the same bytes but for the digits of the one Updated time. It says no
// where that is not certain: labels may have a key of that name.
func onlyUpdatedDiffers(a, b []byte) bool {
	key := []byte(`"Updated":"`)
	at := bytes.Index(a, key) + len(key)
	if at < len(key) || len(b) < at || !bytes.Equal(a[:at], b[:at]) || bytes.Contains(a, []byte(`"Labels"`)) {
		return false
	}
	endA, endB := bytes.IndexByte(a[at:], '"'), bytes.IndexByte(b[at:], '"')
	if endA < 0 || endB < 0 || !bytes.Equal(a[at+endA:], b[at+endB:]) {
		return false
	}
	return isTime(a[at:at+endA]) && isTime(b[at:at+endB])
}

func isTime(text []byte) bool {
	var t time.Time
	return t.UnmarshalText(text) == nil
}

// forgetTheRest drops what was not met.
func (d *Decoder) forgetTheRest() {
	for name, srv := range d.servers {
		if srv.run != d.run {
			delete(d.servers, name)
			continue
		}
		for id, known := range srv.instances {
			if known.run != d.run {
				delete(srv.instances, id)
			}
		}
	}
}

// group returns those that were met as services, as [sdk.GroupByName] does.
func (d *Decoder) group() []sdk.Service {
	met := map[string][]*sdk.Instance{}
	for _, instance := range d.met {
		all, ok := met[instance.Name]
		if !ok {
			all = make([]*sdk.Instance, 0, len(d.services[instance.Name].from)+1)
		}
		met[instance.Name] = append(all, instance)
	}
	var services []sdk.Service
	now := make(map[string]knownService, len(met))
	for _, name := range slices.Sorted(maps.Keys(met)) {
		service := d.services[name]
		if !slices.Equal(service.from, met[name]) {
			service = knownService{met[name], sdk.GroupByName(values(met[name]))[0].Instances}
		}
		now[name] = service
		services = append(services, sdk.Service{Name: name, Instances: service.sorted})
	}
	d.services = now
	return services
}

func values(pointers []*sdk.Instance) []sdk.Instance {
	all := make([]sdk.Instance, len(pointers))
	for n, p := range pointers {
		all[n] = *p
	}
	return all
}
