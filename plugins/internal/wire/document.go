package wire

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// EncodeDocument returns doc as a message. The contents of its files are not copied.
func EncodeDocument(doc sdk.Document) *Document {
	out := &Document{
		Pipeline: doc.Pipeline, Generation: doc.Generation, Digest: doc.Digest, Retry: doc.Retry,
		Watched: doc.Watched, LoadFailure: doc.LoadFailure,
	}
	for _, f := range doc.Files {
		out.Files = append(out.Files, &File{Name: f.Name, Content: f.Content})
	}
	return out
}

// DecodeDocument returns the document of a message. The contents of its files are not copied.
func DecodeDocument(d *Document) sdk.Document {
	doc := sdk.Document{
		Pipeline: d.GetPipeline(), Generation: d.GetGeneration(), Digest: d.GetDigest(), Retry: d.GetRetry(),
		Watched: d.GetWatched(), LoadFailure: d.GetLoadFailure(),
	}
	for _, f := range d.GetFiles() {
		doc.Files = append(doc.Files, sdk.File{Name: f.GetName(), Content: f.GetContent()})
	}
	return doc
}

// EncodeWatched returns watched as the message that asks a sink to reread these files.
func EncodeWatched(watched sdk.Watched) *RereadRequest {
	return &RereadRequest{Watched: watched.ID, Changed: watched.Changed}
}

// DecodeWatched is the inverse of [EncodeWatched].
func DecodeWatched(req *RereadRequest) sdk.Watched {
	return sdk.Watched{ID: req.GetWatched(), Changed: req.GetChanged()}
}

// EncodeResult returns r as a message.
func EncodeResult(r sdk.Result) *Result {
	return &Result{
		Action: encodeAction(r.Action), Reason: Text(r.Reason), Took: durationpb.New(r.Took), Details: encodeTexts(r.Details),
	}
}

// DecodeResult returns the result of a call that took the given time, within the limits of this package. An unknown action
// becomes [sdk.ActionOther], and a sink cannot have taken longer than its call.
func DecodeResult(r *Result, took time.Duration) sdk.Result {
	return sdk.Result{
		Action: decodeAction(r.GetAction()), Reason: Truncate(r.GetReason(), MaxText),
		Took: min(max(r.GetTook().AsDuration(), 0), took), Details: decodeTexts(r.GetDetails(), MaxDetails),
	}
}

// actions are the words of package sdk. They are visible in the daemon's API, metrics and history.
var actions = map[string]Action{
	"":                  Action_ACTION_UNSPECIFIED,
	sdk.ActionUnchanged: Action_ACTION_UNCHANGED,
	sdk.ActionRuntime:   Action_ACTION_RUNTIME,
	sdk.ActionReload:    Action_ACTION_RELOAD,
	sdk.ActionRestart:   Action_ACTION_RESTART,
	sdk.ActionWritten:   Action_ACTION_WRITTEN,
	sdk.ActionOther:     Action_ACTION_OTHER,
}

func encodeAction(name string) Action {
	if action, ok := actions[name]; ok {
		return action
	}
	return Action_ACTION_OTHER
}

func decodeAction(action Action) string {
	for name, a := range actions {
		if a == action {
			return name
		}
	}
	return sdk.ActionOther
}

// EncodeHealth returns h as a message.
func EncodeHealth(h sdk.Health) *HealthResponse {
	return &HealthResponse{Problems: encodeTexts(h.Problems), Facts: encodeTextMap(h.Facts)}
}

// DecodeHealth returns the health of a message, within the limits of this package. Facts whose names start with "plugin_", or
// are "plugin", are left out: the host uses these names for facts about the plugin's process.
func DecodeHealth(h *HealthResponse) sdk.Health {
	facts := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h.GetFacts())) {
		if len(facts) == MaxFacts {
			break
		}
		if name != "plugin" && !strings.HasPrefix(name, "plugin_") {
			facts[Truncate(name, MaxName)] = Truncate(h.GetFacts()[name], MaxText)
		}
	}
	return sdk.Health{Problems: decodeTexts(h.GetProblems(), MaxProblems), Facts: facts}
}
