package catalog

import (
	"bytes"
	"encoding/json"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Decode decodes a catalogue in any of the four encodings. The error is an [*Error], or [ErrEmpty].
func Decode(content []byte) (sdk.Snapshot, error) {
	keys, err := topLevel(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	switch encodingOf(keys) {
	case encodingState:
		return decodeState(content)
	case encodingEvent:
		return DecodeEvent(content)
	case encodingServices:
		return decodeServices(content)
	case encodingByService:
		return decodeByService(content)
	default:
		return sdk.Snapshot{}, unknownEncoding(keys)
	}
}

// DecodeEvent decodes a state changed event. Its ChangeEvent may be absent; [sdk.Snapshot.Last] is nil then. The error is an
// [*Error], or [ErrEmpty].
func DecodeEvent(content []byte) (sdk.Snapshot, error) {
	var e event
	if err := unmarshal(content, depthInEvent, &e); err != nil {
		return sdk.Snapshot{}, err
	}
	if e.State == nil {
		return sdk.Snapshot{}, invalidf(`not a Sidecar StateChangedEvent: the key "State" is missing or null; ` +
			`a state is pushed as {"State": STATE}`)
	}
	if e.State.Servers == nil {
		return sdk.Snapshot{}, invalidf(`not a Sidecar StateChangedEvent: the key "Servers" in "State" is missing or null`)
	}
	return e.snapshot(), nil
}

// DecodeWatch decodes one object of a watch stream: a whole state, or a by-service object, which is all that older
// Sidecars send. An empty object is a by-service object without services. The error is an [*Error], or [ErrEmpty].
func DecodeWatch(content []byte) (sdk.Snapshot, error) {
	keys, err := topLevel(content)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	switch encoding := encodingOf(keys); {
	case encoding == encodingState:
		return decodeState(content)
	case encoding == encodingByService:
		return decodeByService(content)
	case keys != nil && len(keys) == 0:
		return sdk.Snapshot{}, nil
	default:
		return sdk.Snapshot{}, invalidf(`neither a Sidecar state nor a by-service object: the key "Servers" is missing`)
	}
}

func decodeState(content []byte) (sdk.Snapshot, error) {
	var s state
	if err := unmarshal(content, depthInState, &s); err != nil {
		return sdk.Snapshot{}, err
	}
	if s.Servers == nil {
		// The key occurs as an object and again as null, perhaps in another case, which encoding/json accepts.
		return sdk.Snapshot{}, invalidf(`not a Sidecar state: duplicate key "Servers"`)
	}
	return s.snapshot(), nil
}

func decodeServices(content []byte) (sdk.Snapshot, error) {
	var s services
	if err := unmarshal(content, depthInServices, &s); err != nil {
		return sdk.Snapshot{}, err
	}
	if s.Services == nil {
		return sdk.Snapshot{}, invalidf(`not a Sidecar services document: duplicate key "Services"`)
	}
	return s.snapshot(), nil
}

func decodeByService(content []byte) (sdk.Snapshot, error) {
	var b byService
	if err := unmarshal(content, depthInByService, &b); err != nil {
		return sdk.Snapshot{}, err
	}
	if !b.hasNames() {
		return sdk.Snapshot{}, invalidf("not a Sidecar catalogue: no instance has a Name")
	}
	return b.snapshot(), nil
}

// unmarshal decodes a catalogue whose instances are at that depth of content.
func unmarshal(content []byte, depth int, into any) error {
	if len(bytes.TrimSpace(content)) == 0 {
		return ErrEmpty
	}
	if err := checkWeight(weightOf(content, depth), content); err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return decodeError(content, err)
	}
	return nil
}

// The number of brackets around an instance.
const (
	depthOfAny       = 1
	depthInState     = 4
	depthInEvent     = depthInState + 1
	depthInServices  = 3
	depthInByService = 2
)
