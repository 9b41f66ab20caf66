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

// A view is what is known of the keys under the prefix, by key without it.
type view struct {
	prefix    string
	log       *slog.Logger
	instances map[string]sdk.Instance
	faults    map[string]string // of the keys that are left out, so that each is logged once
}

func newView(prefix string, log *slog.Logger) *view {
	return &view{prefix: prefix, log: log, instances: map[string]sdk.Instance{}, faults: map[string]string{}}
}

// replace makes the view one of kvs and nothing else.
func (v *view) replace(kvs []*mvccpb.KeyValue) {
	clear(v.instances)
	before := v.faults
	v.faults = map[string]string{}
	for _, kv := range kvs {
		key := v.short(kv)
		v.faults[key] = before[key]
		v.put(key, kv.Value)
	}
	maps.DeleteFunc(v.faults, func(_, fault string) bool { return fault == "" })
}

// apply takes one event into the view and returns what became of which instance, nil where nothing did.
func (v *view) apply(event *clientv3.Event) *sdk.Change {
	key := v.short(event.Kv)
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

// put leaves out what is no instance. It must not spoil the rest.
func (v *view) put(key string, value []byte) bool {
	instance, err := decode(key, value)
	if err != nil {
		if fault := err.Error(); v.faults[key] != fault {
			v.faults[key] = fault
			v.log.Warn("a key is left out: correct its value", "key", v.prefix+key, "error", err)
		}
		return false
	}
	delete(v.faults, key)
	v.instances[key] = instance
	return true
}

func (v *view) short(kv *mvccpb.KeyValue) string { return strings.TrimPrefix(string(kv.Key), v.prefix) }

func (v *view) services() []sdk.Service {
	return sdk.GroupByName(slices.Collect(maps.Values(v.instances)))
}
