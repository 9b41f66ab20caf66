package sdk

import (
	"context"
	"time"
)

// A Sink applies documents.
type Sink interface {
	// Apply returns nil only if doc is in effect; otherwise the previous document still is, on disk and in the running
	// program. The kind of an error, see [ErrRejected], says what the daemon does next. The Result is used with an error too:
	// its Details are shown.
	//
	// Apply is never called twice at the same time. The daemon cancels ctx if a newer document has been waiting while Apply
	// took a minute or more: Apply then stops at the next safe point, leaves the previous document in effect, and returns an
	// error that wraps [context.Cause]. The daemon kills and restarts a plugin whose Apply goes on for 30 seconds after that.
	Apply(ctx context.Context, doc Document) (Result, error)

	// Health returns the present problems of what the sink manages, and an error only if it cannot find out. It may be called
	// at any time, also while Apply runs, and should answer within a second. The daemon calls it once at the start: after
	// this call, or the first Apply, the sink may supervise what it manages.
	Health(ctx context.Context) (Health, error)
}

// A Checker is a [Sink] that can check a document without applying it.
type Checker interface {
	// Check returns nil if Apply would accept doc, and an error that wraps [ErrRejected] if it would not. An error that wraps
	// [errors.ErrUnsupported] says that the sink cannot check doc. Check changes nothing that is in effect. It may be called
	// while Apply runs, and is cancelled after some minutes.
	Check(ctx context.Context, doc Document) error
}

// A Rereader is a [Sink] whose program reads files beside the document, such as certificates, and can load them again.
type Rereader interface {
	// Reread has the program load again the files that it reads beside the document in effect, if any of them has changed
	// since it was loaded: the watched files, or others that the sink knows of. It returns nil if the program has loaded
	// their present content, with [ActionUnchanged] if there was nothing to do. After an error the program keeps what it had;
	// [Deferred], [RetryAfter] and [NotLoaded] have their meaning. The daemon calls Reread on request, when watched files
	// change, and at the start, never while Apply runs, and cancels ctx as it does for Apply.
	//
	// The daemon calls Apply once more with the same document when watched files change and the sink is no Rereader.
	Reread(ctx context.Context, watched Watched) (Result, error)
}

// A Claimer is a [Sink] that can make itself the only one on what it manages.
type Claimer interface {
	// Claim returns nil if no other process manages what this sink does, nor can until the process of the sink ends. Its
	// error says who does and what to do. The daemon calls Claim once, before the first Health or Apply; commands that only
	// check documents do not call it. Claim may wait some seconds for a sink that is ending, but not longer than ctx.
	Claim(ctx context.Context) error
}

// A Notifier is a [Sink] that notifies the daemon when a document that Apply reported as applied is no longer in effect,
// because its program ended with it, for example, or because a change at run time was taken back.
type Notifier interface {
	// OnLost is called once, before the first Health or Apply. The sink calls lost after it has put another document into
	// effect than the one that Apply reported last. lost does not block and may be called from any goroutine. A newer report
	// replaces one that the daemon has not read yet.
	OnLost(lost func(Lost))
}

// Lost is a document that is no longer in effect, although Apply reported it as applied.
type Lost struct {
	// Err says why. After an [ErrNotLoaded] the daemon does not apply the same document again by itself; after any other
	// error it does so at once.
	Err error
	// Generation is that of the [Document] that is in effect instead; 0 if the sink does not know it.
	Generation uint64
	// Digest is that of the Document that is no longer in effect; empty if the sink does not know it. If the sink has
	// applied a newer document meanwhile, that one is still in effect.
	Digest string
	// Commands are what the sink sent to the program to put another document into effect.
	Commands []Command
	// Details is further human-readable text, such as the last lines that the program logged.
	Details []string
}

// The actions of a sink, in [Result].Action.
const (
	ActionUnchanged = "unchanged" // the document was in effect already
	ActionRuntime   = "runtime"   // the running program was changed in place
	ActionReload    = "reload"    // the running program loaded the document without closing its sockets
	ActionRestart   = "restart"   // the program was started
	ActionWritten   = "written"   // the files were written, and no program had to be notified
	ActionOther     = "other"     // what the daemon makes of any other word
)

// A Result says what a sink did and why.
type Result struct {
	Action   string // one of the Action constants
	Reason   string // why that action was necessary, and no smaller one was enough
	Took     time.Duration
	Commands []Command // what the sink sent to the running program, in order
	Steps    []Step    // the parts of the Apply that took noticeable time, in order
	Details  []string  // further human-readable text, such as the warnings of a check
}

// A Command is what a sink sent to its running program.
type Command struct {
	Sent   string
	Answer string // empty if the program answered nothing, which usually means that it succeeded
}

// A Step is a part of an Apply, such as a check or a reload.
type Step struct {
	Name  string        // one or two words
	Start time.Duration // since the beginning of the Apply
	Took  time.Duration
}
