package main

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A view has the instances of the keys under the prefix, by key without the prefix.
type view struct {
	prefix    string
	log       *slog.Logger
	instances map[string]sdk.Instance
	faults    map[string]string // of the keys that are excluded, so that each is logged once
}

func newView(prefix string, log *slog.Logger) *view {
	return &view{prefix: prefix, log: log, instances: map[string]sdk.Instance{}, faults: map[string]string{}}
}

// replace replaces the content of the view by kvs.
func (v *view) replace(kvs []*mvccpb.KeyValue) {
	clear(v.instances)
	before := v.faults
	v.faults = map[string]string{}
	for _, kv := range kvs {
		key := v.trim(kv)
		v.faults[key] = before[key]
		v.put(key, kv.Value)
	}
	maps.DeleteFunc(v.faults, func(_, fault string) bool { return fault == "" })
}

// apply applies an event and returns the change of an instance, and nil if no instance changed.
func (v *view) apply(event *clientv3.Event) *sdk.Change {
	key := v.trim(event.Kv)
	before, known := v.instances[key]
	change := &sdk.Change{Instance: before, PreviousStatus: before.Status, Time: time.Now()}
	if !known {
		change.PreviousStatus = sdk.Unknown
	}
	delete(v.instances, key)
	if event.Type == clientv3.EventTypeDelete {
		delete(v.faults, key)
	} else if v.put(key, event.Kv.Value) {
		change.Instance = v.instances[key]
		return change
	}
	change.Instance.Status = sdk.Tombstone
	if !known {
		return nil
	}
	return change
}

// put adds the instance of a key and reports whether its value is valid. An invalid value does not affect other keys.
func (v *view) put(key string, value []byte) bool {
	instance, err := decode(key, value)
	if err != nil {
		if fault := err.Error(); v.faults[key] != fault {
			v.faults[key] = fault
			v.log.Warn("invalid value, excluding the key", "key", v.prefix+key, "error", err)
		}
		return false
	}
	delete(v.faults, key)
	v.instances[key] = instance
	return true
}

func (v *view) trim(kv *mvccpb.KeyValue) string { return strings.TrimPrefix(string(kv.Key), v.prefix) }

func (v *view) services() []sdk.Service {
	return sdk.GroupByName(slices.Collect(maps.Values(v.instances)))
}

func equalServices(a, b sdk.Service) bool {
	return a.Name == b.Name && slices.EqualFunc(a.Instances, b.Instances, equalInstances)
}

// equalInstances reports whether a and b are the same instance in the same state. It ignores Updated, which a service may renew
// as a heartbeat.
func equalInstances(a, b sdk.Instance) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Image == b.Image && a.Hostname == b.Hostname && a.ProxyMode == b.ProxyMode &&
		a.Status == b.Status && a.Created.Equal(b.Created) && slices.Equal(a.Ports, b.Ports) && maps.Equal(a.Labels, b.Labels)
}
