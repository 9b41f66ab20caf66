package catalog

import (
	"bytes"
	"encoding/json"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Decode reads a catalogue in any of the four encodings. The error is an [*Error], or [ErrEmpty].
func Decode(content []byte) (sdk.Snapshot, error) {
	keys, err := topLevel(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	switch form := formOf(keys); form {
	case formState:
		return decodeState(content)
	case formEvent:
		return DecodeEvent(content)
	case formServices:
		return decodeServices(content)
	case formByService:
		return decodeByService(content)
	default:
		return sdk.Snapshot{}, whyNone(keys)
	}
}

// DecodeEvent reads what a Sidecar posts to its listeners. The ChangeEvent may be absent; [sdk.Snapshot.Last] is nil
// then. The error is an [*Error], or [ErrEmpty].
func DecodeEvent(content []byte) (sdk.Snapshot, error) {
	var e event
	if err := unmarshal(content, &e); err != nil {
		return sdk.Snapshot{}, err
	}
	if e.State == nil {
		return sdk.Snapshot{}, misfit(`not a Sidecar StateChangedEvent: the key "State" is missing or null`)
	}
	if e.State.Servers == nil {
		return sdk.Snapshot{}, misfit(`not a Sidecar StateChangedEvent: the key "Servers" in "State" is missing or null`)
	}
	return e.snapshot(), nil
}

// DecodeWatch reads one object of a watch stream: a whole state, or, from Sidecars that know no other, a by-service
// object. An object without a key is what the latter send while they know no service. The error is an [*Error], or
// [ErrEmpty].
func DecodeWatch(content []byte) (sdk.Snapshot, error) {
	keys, err := topLevel(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	switch form := formOf(keys); {
	case form == formState:
		return decodeState(content)
	case form == formByService:
		return decodeByService(content)
	case keys != nil && len(keys) == 0:
		return sdk.Snapshot{}, nil
	default:
		return sdk.Snapshot{}, misfit(`neither a Sidecar state nor its services by name: the key "Servers" is missing`)
	}
}

func decodeState(content []byte) (sdk.Snapshot, error) {
	var s state
	if err := unmarshal(content, &s); err != nil {
		return sdk.Snapshot{}, err
	}
	if s.Servers == nil {
		// The key was there as an object, and then again as null: JSON allows both, and other letters' case.
		return sdk.Snapshot{}, misfit(`not a Sidecar state: the key "Servers" is there twice`)
	}
	return s.snapshot(), nil
}

func decodeServices(content []byte) (sdk.Snapshot, error) {
	var s services
	if err := unmarshal(content, &s); err != nil {
		return sdk.Snapshot{}, err
	}
	if s.Services == nil {
		return sdk.Snapshot{}, misfit(`not Sidecar's services: the key "Services" is there twice`)
	}
	return s.snapshot(), nil
}

func decodeByService(content []byte) (sdk.Snapshot, error) {
	var b byService
	if err := unmarshal(content, &b); err != nil {
		return sdk.Snapshot{}, err
	}
	if !b.named() {
		return sdk.Snapshot{}, misfit("not a Sidecar catalogue: its lists have no instance with a Name")
	}
	return b.snapshot(), nil
}

// What a catalogue may have, so that a few bytes of it cannot take a hundred times as many in memory. 160,000 instances have
// about that.
const (
	maxObjects = 500_000
	maxValues  = 4_000_000
)

func unmarshal(content []byte, into any) error {
	if len(bytes.TrimSpace(content)) == 0 {
		return ErrEmpty
	}
	if err := oversize(content); err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return explain(content, err)
	}
	return nil
}

func oversize(content []byte) error {
	// Counting those in strings too is near enough.
	if bytes.Count(content, []byte("{")) > maxObjects || bytes.Count(content, []byte(",")) > maxValues {
		return misfit("not a Sidecar catalogue: it has more than %d objects or %d values", maxObjects, maxValues)
	}
	return nil
}
