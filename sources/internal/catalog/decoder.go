package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Decoder reads the states of one catalogue, one after the other, at the cost of what changed: the instances whose bytes are
// those of the time before are not decoded again, and services without a change are the same slices as before. It returns
// what the functions of its methods' names return, which are slower, and which it leaves to read whatever is unusual.
//
// The zero Decoder is ready. It is for one goroutine, and keeps the content that it was given last, which must not be changed.
type Decoder struct {
	servers  map[string]*knownServer
	services map[string]*knownService
	run      uint64           // counts contents
	met      []*knownInstance // in this run, in order
	weight   int              // of what was met, see [weightOf]
}

type knownServer struct {
	run       uint64 // the last one that it was met in
	met       int    // how many instances were met in that run
	instances map[string]*knownInstance
}

type knownInstance struct {
	run     uint64
	content []byte // an object, to its end
	// Where in content the time stands that moves with heartbeats, without its quotation marks; 0 where that is not certain.
	updated, updatedEnd int

	instance *sdk.Instance
	service  *knownService // that has the instance as it is; nil for none yet
}

// A knownService is what became of the instances of a name.
type knownService struct {
	met    int  // how many of its instances were met in this run as they were
	more   bool // others were met as well
	sorted []sdk.Instance
}

// isStale reports whether the service has other instances than before.
func (s *knownService) isStale() bool { return s.more || s.met != len(s.sorted) }

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
	d.met, d.weight = d.met[:0], 0
	if !walk() || !w.isOver() || checkWeight(d.weight, w.content) != nil {
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
		return w.members(func(name []byte) bool { return d.server(w, name) })
	}, s)
}

func (d *Decoder) server(w *walker, name []byte) bool {
	srv := d.servers[string(name)]
	if srv == nil {
		srv = &knownServer{instances: map[string]*knownInstance{}}
		if d.servers == nil {
			d.servers = map[string]*knownServer{}
		}
		d.servers[string(name)] = srv
	}
	if srv.run == d.run { // twice
		return false
	}
	srv.run, srv.met = d.run, 0
	return d.hasRoom(w, instanceWeight) && w.object("Services", func() bool {
		return w.members(func(id []byte) bool { return d.instance(w, srv, name, id) })
	}, &server{})
}

func (d *Decoder) instance(w *walker, srv *knownServer, hostname, id []byte) bool {
	known := srv.instances[string(id)]
	if known == nil {
		known = &knownInstance{}
		srv.instances[string(id)] = known
	}
	if known.run == d.run || !known.read(w, hostname, id) {
		return false
	}
	known.run = d.run
	srv.met++
	if known.service != nil {
		known.service.met++
	}
	d.met = append(d.met, known)
	return d.hasRoom(w, known.weight())
}

// weight is what the instance takes in memory, about. What is said of an invalid one takes more.
func (k *knownInstance) weight() int {
	weight := instanceWeight + len(k.instance.Ports)*portWeight + len(k.instance.Labels)*labelWeight
	if k.instance.Invalid != "" {
		weight *= 3
	}
	return weight
}

// hasRoom counts what is met, and reports whether all of it is still within the bounds.
func (d *Decoder) hasRoom(w *walker, weight int) bool {
	d.weight += weight
	return checkWeight(d.weight, w.content) == nil
}

// read goes through the value, which has to be an object. The instance is the one before, where nothing but its Updated time
// differs.
func (k *knownInstance) read(w *walker, hostname, id []byte) bool {
	w.space()
	start := w.at
	if k.beginsAgain(w.content[start:]) {
		w.at += len(k.content)
		return true
	}
	if !bytes.HasPrefix(w.content[start:], []byte("{")) || !w.skip() {
		return false
	}
	k.content = w.content[start:w.at]
	var read entry
	read.read(k.content)
	if read.Invalid != "" {
		if !json.Valid(k.content) {
			return false
		}
		read.named(string(hostname), string(id))
	}
	k.findUpdated()
	if k.instance == nil || !snapshots.EqualInstances(*k.instance, read.Instance) {
		k.instance, k.service = &read.Instance, nil // others have the one before
	}
	return true
}

// beginsAgain reports whether content begins with the same object, which may have another Updated time, and keeps that one if so.
// An object ends with its last byte, so whatever follows does not belong to it.
func (k *knownInstance) beginsAgain(content []byte) bool {
	head, tail := k.content[:k.updated], k.content[k.updatedEnd:]
	if len(tail) == 0 || !bytes.HasPrefix(content, head) {
		return false
	}
	end := len(head)
	if end > 0 {
		length := bytes.IndexByte(content[end:min(len(content), end+longestTime)], '"')
		if length < 0 {
			return false
		}
		end += length
	}
	moved := !bytes.Equal(content[len(head):end], k.content[k.updated:k.updatedEnd])
	if !bytes.HasPrefix(content[end:], tail) || moved && !isTime(content[len(head):end]) {
		return false
	}
	k.content, k.updatedEnd = content[:end+len(tail)], end // the old content can go
	return true
}

// longestTime is more than a time as RFC 3339 has it takes, in bytes.
const longestTime = 64

// findUpdated sets where the Updated time stands. It finds none where that is not certain: labels may have a key of that name.
func (k *knownInstance) findUpdated() {
	k.updated, k.updatedEnd = 0, 0
	key := []byte(`"Updated":"`)
	at := bytes.Index(k.content, key)
	if at < 0 || bytes.Contains(k.content, []byte(`"Labels"`)) {
		return
	}
	at += len(key)
	if length := bytes.IndexByte(k.content[at:], '"'); length >= 0 && isTime(k.content[at:at+length]) {
		k.updated, k.updatedEnd = at, at+length
	}
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
		if srv.met == len(srv.instances) {
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
	if d.services == nil {
		d.services = map[string]*knownService{}
	}
	for _, known := range d.met {
		if known.service != nil {
			continue
		}
		service := d.services[known.instance.Name]
		if service == nil {
			service = &knownService{}
			d.services[known.instance.Name] = service
		}
		service.more = true
		known.service = service
	}
	members := map[*knownService][]*knownInstance{}
	for _, known := range d.met {
		if s := known.service; s.isStale() {
			members[s] = append(members[s], known)
		}
	}
	services := make([]sdk.Service, 0, len(d.services))
	for _, name := range slices.Sorted(maps.Keys(d.services)) {
		s := d.services[name]
		if s.isStale() {
			if len(members[s]) == 0 {
				delete(d.services, name)
				continue
			}
			s.sorted = sorted(members[s])
		}
		s.met, s.more = 0, false
		services = append(services, sdk.Service{Name: name, Instances: s.sorted})
	}
	if len(services) == 0 {
		return nil
	}
	return services
}

// sorted returns the instances of a service in order. They are the members' own from then on, so that each is in memory once.
func sorted(members []*knownInstance) []sdk.Instance {
	all := make([]sdk.Instance, len(members))
	for n, m := range members {
		all[n] = *m.instance
	}
	all = sdk.GroupByName(all)[0].Instances
	slices.SortFunc(members, func(a, b *knownInstance) int { return comparePlace(a.instance, b.instance) })
	for n, m := range members {
		if (n == 0 || comparePlace(&all[n-1], &all[n]) != 0) && (n+1 == len(all) || comparePlace(&all[n], &all[n+1]) != 0) {
			m.instance = &all[n]
		}
	}
	return all
}

func comparePlace(a, b *sdk.Instance) int {
	return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
}
