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
	if err := unmarshal(content, depthInEvent, &e); err != nil {
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
	if err := unmarshal(content, depthInState, &s); err != nil {
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
	if err := unmarshal(content, depthInServices, &s); err != nil {
		return sdk.Snapshot{}, err
	}
	if s.Services == nil {
		return sdk.Snapshot{}, misfit(`not Sidecar's services: the key "Services" is there twice`)
	}
	return s.snapshot(), nil
}

func decodeByService(content []byte) (sdk.Snapshot, error) {
	var b byService
	if err := unmarshal(content, depthInByService, &b); err != nil {
		return sdk.Snapshot{}, err
	}
	if !b.named() {
		return sdk.Snapshot{}, misfit("not a Sidecar catalogue: its lists have no instance with a Name")
	}
	return b.snapshot(), nil
}

// unmarshal reads a catalogue whose instances are so deep in content.
func unmarshal(content []byte, depth int, into any) error {
	if len(bytes.TrimSpace(content)) == 0 {
		return ErrEmpty
	}
	if err := checkWeight(weightOf(content, depth), content); err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return explain(content, err)
	}
	return nil
}

// How many brackets there are around an instance.
const (
	depthOfAny       = 1
	depthInState     = 4
	depthInEvent     = depthInState + 1
	depthInServices  = 3
	depthInByService = 2
)
