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

// A Decoder decodes the states of one catalogue, one after the other, at the cost of what changed: instances whose bytes did not
// change are not decoded again, and services without a change are the same slices as before. Its methods return what the
// functions of the same names return, and call those for unusual content.
//
// The zero Decoder is ready for use. It is for one goroutine, and keeps the last content, which must not be modified.
type Decoder struct {
	servers  map[string]*knownServer
	services map[string]*knownService
	run      uint64           // the number of the current content
	seen     []*knownInstance // in this run, in order
	weight   int              // of what was seen, see [weightOf]
}

type knownServer struct {
	run       uint64 // the last run in which it was seen
	seen      int    // how many of its instances were seen in that run
	instances map[string]*knownInstance
}

type knownInstance struct {
	run     uint64
	content []byte // the object
	// The range of the Updated time in content, which changes with heartbeats, without quotation marks; 0 if it is unknown.
	updated, updatedEnd int

	instance *sdk.Instance
	service  *knownService // that contains the instance unchanged; nil for none yet
}

// A knownService contains the instances of one name.
type knownService struct {
	seen   int  // how many of its instances were seen unchanged in this run
	added  bool // new or changed ones were seen too
	sorted []sdk.Instance
}

// isStale reports whether the instances of the service changed.
func (s *knownService) isStale() bool { return s.added || s.seen != len(s.sorted) }

// DecodeEvent is the function [DecodeEvent].
func (d *Decoder) DecodeEvent(content []byte) (sdk.Snapshot, error) {
	var e event
	sc := &scanner{content: content}
	if snap, ok := d.decode(sc, func() bool {
		var s state
		ok := sc.object("State", func() bool { return d.state(sc, &s) }, &e)
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
	sc := &scanner{content: content}
	if snap, ok := d.decode(sc, func() bool {
		e.State = &state{}
		return d.state(sc, e.State)
	}, &e); ok {
		return snap, nil
	}
	return DecodeWatch(content)
}

// decode calls scan to fill e and returns its snapshot. If that fails, d forgets everything.
func (d *Decoder) decode(sc *scanner, scan func() bool, e *event) (sdk.Snapshot, bool) {
	d.run++
	d.seen, d.weight = d.seen[:0], 0
	if !scan() || !sc.atEnd() || checkWeight(d.weight, sc.content) != nil {
		*d = Decoder{}
		return sdk.Snapshot{}, false
	}
	d.removeUnseen()
	snap := e.snapshot()
	snap.Services = d.group()
	return snap, true
}

func (d *Decoder) state(sc *scanner, s *state) bool {
	return sc.object("Servers", func() bool {
		return sc.members(func(name []byte) bool { return d.server(sc, name) })
	}, s)
}

func (d *Decoder) server(sc *scanner, name []byte) bool {
	srv := d.servers[string(name)]
	if srv == nil {
		srv = &knownServer{instances: map[string]*knownInstance{}}
		if d.servers == nil {
			d.servers = map[string]*knownServer{}
		}
		d.servers[string(name)] = srv
	}
	if srv.run == d.run { // a duplicate key
		return false
	}
	srv.run, srv.seen = d.run, 0
	return d.addWeight(sc, instanceWeight) && sc.object("Services", func() bool {
		return sc.members(func(id []byte) bool { return d.instance(sc, srv, name, id) })
	}, &server{})
}

func (d *Decoder) instance(sc *scanner, srv *knownServer, hostname, id []byte) bool {
	known := srv.instances[string(id)]
	if known == nil {
		known = &knownInstance{}
		srv.instances[string(id)] = known
	}
	if known.run == d.run || !known.read(sc, hostname, id) {
		return false
	}
	known.run = d.run
	srv.seen++
	if known.service != nil {
		known.service.seen++
	}
	d.seen = append(d.seen, known)
	return d.addWeight(sc, known.weight())
}

// weight returns approximately how many bytes of memory the instance takes. The reason of an invalid one takes more.
func (k *knownInstance) weight() int {
	weight := instanceWeight + len(k.instance.Ports)*portWeight + len(k.instance.Labels)*labelWeight
	if k.instance.Invalid != "" {
		weight *= 3
	}
	return weight
}

// addWeight adds to the weight of what was seen, and reports whether that is still within the bounds.
func (d *Decoder) addWeight(sc *scanner, weight int) bool {
	d.weight += weight
	return checkWeight(d.weight, sc.content) == nil
}

// read reads the value, which must be an object. It keeps the previous instance if only its Updated time differs.
func (k *knownInstance) read(sc *scanner, hostname, id []byte) bool {
	sc.skipSpace()
	start := sc.at
	if k.skipUnchanged(sc.content[start:]) {
		sc.at += len(k.content)
		return true
	}
	if !bytes.HasPrefix(sc.content[start:], []byte("{")) || !sc.skip() {
		return false
	}
	k.content = sc.content[start:sc.at]
	var read entry
	read.read(k.content)
	if read.Invalid != "" {
		if !json.Valid(k.content) {
			return false
		}
		read.setPlace(string(hostname), string(id))
	}
	k.findUpdated()
	if k.instance == nil || !snapshots.EqualInstances(*k.instance, read.Instance) {
		k.instance, k.service = &read.Instance, nil // snapshots have the previous one
	}
	return true
}

// skipUnchanged reports whether content begins with the same object, perhaps with another Updated time, and keeps the new bytes
// if so. An object ends with its last byte, so what follows is not part of it.
func (k *knownInstance) skipUnchanged(content []byte) bool {
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
	k.content, k.updatedEnd = content[:end+len(tail)], end // the old content is no longer needed
	return true
}

// longestTime is more bytes than a time in RFC 3339 format has.
const longestTime = 64

// findUpdated sets the range of the Updated time. It sets none if the instance has labels, which may have that name too.
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

// removeUnseen removes what was not seen in this run.
func (d *Decoder) removeUnseen() {
	for name, srv := range d.servers {
		if srv.run != d.run {
			delete(d.servers, name)
			continue
		}
		if srv.seen == len(srv.instances) {
			continue
		}
		for id, known := range srv.instances {
			if known.run != d.run {
				delete(srv.instances, id)
			}
		}
	}
}

// group returns the instances of this run as services, as [sdk.GroupByName] does.
func (d *Decoder) group() []sdk.Service {
	if d.services == nil {
		d.services = map[string]*knownService{}
	}
	for _, known := range d.seen {
		if known.service != nil {
			continue
		}
		service := d.services[known.instance.Name]
		if service == nil {
			service = &knownService{}
			d.services[known.instance.Name] = service
		}
		service.added = true
		known.service = service
	}
	members := map[*knownService][]*knownInstance{}
	for _, known := range d.seen {
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
		s.seen, s.added = 0, false
		services = append(services, sdk.Service{Name: name, Instances: s.sorted})
	}
	if len(services) == 0 {
		return nil
	}
	return services
}

// sorted returns the instances of a service in sorted order. It makes the members refer to them, so that each is in memory once.
func sorted(members []*knownInstance) []sdk.Instance {
	all := make([]sdk.Instance, len(members))
	for n, m := range members {
		all[n] = *m.instance
	}
	all = sdk.GroupByName(all)[0].Instances
	slices.SortFunc(members, func(a, b *knownInstance) int { return compareInstances(a.instance, b.instance) })
	for n, m := range members {
		isFirst := n == 0 || compareInstances(&all[n-1], &all[n]) != 0
		isLast := n+1 == len(all) || compareInstances(&all[n], &all[n+1]) != 0
		if isFirst && isLast { // no other instance has the same hostname and id
			m.instance = &all[n]
		}
	}
	return all
}

func compareInstances(a, b *sdk.Instance) int {
	return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
}
