package wire

import (
	"maps"
	"slices"
	"strconv"
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
	out := &Result{
		Action: encodeWord(actions, r.Action, Action_ACTION_OTHER), Reason: Text(r.Reason), Took: durationpb.New(r.Took),
		Details: encodeTexts(r.Details), Commands: encodeCommands(r.Commands),
	}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, &Step{
			Name: Text(s.Name), Start: durationpb.New(s.Start), Took: durationpb.New(s.Took),
		})
	}
	return out
}

// DecodeResult returns the result of a call that took the given time, within the limits of this package. An unknown action
// becomes [sdk.ActionOther], and a sink and its steps cannot have taken longer than the call.
func DecodeResult(r *Result, took time.Duration) sdk.Result {
	within := func(d *durationpb.Duration) time.Duration { return min(max(d.AsDuration(), 0), took) }
	result := sdk.Result{
		Action: decodeWord(actions, r.GetAction(), sdk.ActionOther), Reason: Truncate(r.GetReason(), MaxText),
		Took: within(r.GetTook()), Details: decodeTexts(r.GetDetails(), MaxDetails),
		Commands: decodeCommands(r.GetCommands()),
	}
	for _, s := range r.GetSteps()[:min(len(r.GetSteps()), MaxSteps)] {
		result.Steps = append(result.Steps, sdk.Step{
			Name: Truncate(s.GetName(), MaxName), Start: within(s.GetStart()), Took: within(s.GetTook()),
		})
	}
	return result
}

// encodeCommands returns at most MaxCommands messages, so that a change of many servers does not exceed what the daemon accepts.
// Where there are more commands, a last one says how many are missing.
func encodeCommands(commands []sdk.Command) []*Command {
	var out []*Command
	for i, c := range commands {
		if i == MaxCommands-1 && len(commands) > MaxCommands {
			return append(out, &Command{Sent: strconv.Itoa(len(commands)-i) + " more"})
		}
		out = append(out, &Command{Sent: Text(c.Sent), Answer: Text(c.Answer)})
	}
	return out
}

// decodeCommands returns at most MaxCommands elements of list. Where there are more, a last element says how many are missing.
func decodeCommands(list []*Command) []sdk.Command {
	var out []sdk.Command
	for _, c := range list[:min(len(list), MaxCommands)] {
		out = append(out, sdk.Command{
			Sent: Truncate(c.GetSent(), MaxText), Answer: Truncate(c.GetAnswer(), MaxText),
		})
	}
	if more := len(list) - MaxCommands; more > 0 {
		out = append(out, sdk.Command{Sent: strconv.Itoa(more) + " more"})
	}
	return out
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

// encodeWord returns the value of an enum for a word of package sdk, and other for an unknown word.
func encodeWord[E comparable](values map[string]E, word string, other E) E {
	if value, ok := values[word]; ok {
		return value
	}
	return other
}

// decodeWord is the inverse of encodeWord.
func decodeWord[E comparable](values map[string]E, value E, other string) string {
	for word, v := range values {
		if v == value {
			return word
		}
	}
	return other
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
