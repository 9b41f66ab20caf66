package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// eventKinds are the words of package sdk. They are visible in the daemon's API and history.
var eventKinds = map[string]EventKind{
	sdk.EventCrashed:       EventKind_EVENT_KIND_CRASHED,
	sdk.EventRestarted:     EventKind_EVENT_KIND_RESTARTED,
	sdk.EventReloaded:      EventKind_EVENT_KIND_RELOADED,
	sdk.EventForeignReload: EventKind_EVENT_KIND_FOREIGN_RELOAD,
	sdk.EventDriftRepaired: EventKind_EVENT_KIND_DRIFT_REPAIRED,
	sdk.EventReverted:      EventKind_EVENT_KIND_REVERTED,
	sdk.EventOther:         EventKind_EVENT_KIND_OTHER,
	sdk.EventLoadFailed:    EventKind_EVENT_KIND_LOAD_FAILED,
}

// EncodeEvent returns e as a message.
func EncodeEvent(e sdk.Event) *AttachEvent {
	return &AttachEvent{Event: &Event{
		Kind: encodeWord(eventKinds, e.Kind, EventKind_EVENT_KIND_OTHER), Time: encodeTime(e.Time), Reason: Text(e.Reason),
		Generation: e.Generation, Commands: encodeCommands(e.Commands), Details: encodeTexts(e.Details),
	}}
}

// DecodeEvent is the inverse of [EncodeEvent], within the limits of this package. It returns false for a message without an
// event. An event without a time, or with a time that has not come yet, happened now.
func DecodeEvent(message *AttachEvent, now time.Time) (sdk.Event, bool) {
	e := message.GetEvent()
	if e == nil {
		return sdk.Event{}, false
	}
	happened := decodeTime(e.GetTime())
	if happened.IsZero() || happened.After(now) {
		happened = now
	}
	return sdk.Event{
		Kind: decodeWord(eventKinds, e.GetKind(), sdk.EventOther), Time: happened, Reason: Truncate(e.GetReason(), MaxText),
		Generation: e.GetGeneration(), Commands: decodeCommands(e.GetCommands()),
		Details: decodeTexts(e.GetDetails(), MaxDetails),
	}, true
}

// EncodeServers returns servers as messages.
func EncodeServers(servers []sdk.Server) []*Server {
	out := make([]*Server, 0, len(servers))
	for _, s := range servers {
		out = append(out, &Server{
			Backend: Text(s.Backend), Name: Text(s.Name), Address: Text(s.Address), Status: Text(s.Status),
			InStatus: durationpb.New(s.InStatus), Check: Text(s.Check),
			Weight: int64(s.Weight), Sessions: int64(s.Sessions), Queue: int64(s.Queue),
		})
	}
	return out
}

// DecodeServers is the inverse of [EncodeServers], within the limits of this package. It leaves out what is beyond them.
func DecodeServers(list []*Server) []sdk.Server {
	out := make([]sdk.Server, 0, min(len(list), MaxServers))
	for _, s := range list[:min(len(list), MaxServers)] {
		out = append(out, sdk.Server{
			Backend: Truncate(s.GetBackend(), MaxText), Name: Truncate(s.GetName(), MaxText),
			Address: Truncate(s.GetAddress(), MaxText), Status: Truncate(s.GetStatus(), MaxName),
			InStatus: max(s.GetInStatus().AsDuration(), 0), Check: Truncate(s.GetCheck(), MaxText),
			Weight: decodeCount(s.GetWeight()), Sessions: decodeCount(s.GetSessions()), Queue: decodeCount(s.GetQueue()),
		})
	}
	return out
}

func decodeCount(n int64) int { return int(max(n, 0)) }
