package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// A Source watches one service catalogue.
type Source interface {
	// Watch calls emit with a complete [Snapshot] as soon as it has one and again after every change, from one goroutine
	// at a time. emit never blocks for long, and the snapshot must not be touched once it is emitted.
	//
	// Watch blocks. It returns nil soon after ctx is done, and an error only when it cannot go on; troubles that may pass
	// (a catalogue that does not answer) it logs and outlasts by itself, emitting nothing meanwhile. It is called again
	// after an error, but never twice at once.
	Watch(ctx context.Context, emit func(Snapshot)) error
}

// A Receiver is a [Source] that is told of changes over HTTP instead of asking for them. Its handler is served by the
// daemon for POST /update and its aliases, before, during and after Watch.
type Receiver interface {
	Source
	http.Handler
}

// A Reporter is a [Source] that can say how it is. A source's problems are told to people and stop nothing: what it said last
// holds.
type Reporter interface {
	Source
	// Health says what is wrong now. It may be called at any time and should answer within a second.
	Health(ctx context.Context) (Health, error)
}

// A Sink makes documents live.
type Sink interface {
	// Apply returns nil only when doc is in effect; otherwise the document before it still is, on disk and in the running
	// program. It is never called twice at once. A newer document cancels ctx after a minute or more: Apply then stops at the
	// next safe point, leaves the old document in effect and returns an error that wraps [context.Cause]. The daemon kills a
	// plugin whose Apply goes on for 30 seconds after that, and starts it again.
	//
	// An error that wraps [ErrRejected] is final for this document; see [Rejection] for how the rest of it can go live. With
	// an error of [Deferred] the document is not in effect yet and nothing is wrong: a sink that paces what is costly does
	// at once what it can, and is offered the document, or a newer one, again. An error of [NotLoaded] says that trying the
	// document has interrupted the program that the sink manages. Any other error is tried again, see [RetryAfter]. The Result
	// is looked at beside an error too: its Details are shown to people.
	Apply(ctx context.Context, doc Document) (Result, error)

	// Health says what is wrong now with the thing that the sink feeds. It returns an error only when it cannot find out.
	// It may be called at any time, also while Apply runs, and should answer within a second. The daemon calls it once at
	// the start: from then on, as from the first Apply, the sink may look after what it manages.
	Health(ctx context.Context) (Health, error)
}

// A Checker is a [Sink] that can judge a document without making it live.
type Checker interface {
	// Check returns nil when Apply would accept doc, and an error that wraps [ErrRejected] when it would not. One that wraps
	// [errors.ErrUnsupported] says that the sink cannot check it. It changes nothing that is in effect. It may be called while
	// Apply runs, and is cancelled after some minutes.
	Check(ctx context.Context, doc Document) error
}

// A Rereader is a [Sink] whose program reads files beside the document, such as certificates, and can load them again.
type Rereader interface {
	// Reread has the program load again what it reads beside the document in effect, if any of that has changed since it was
	// loaded: the watched files have, or others that the sink knows of. It returns nil when the program has what is there now,
	// with [ActionUnchanged] where there was nothing to do. After an error the program goes on with what it had; the error may
	// be one of [Deferred], [RetryAfter] or [NotLoaded]. The daemon calls it when somebody asks, when watched files change and
	// at the start, never while Apply runs. What is said there of ctx holds here.
	//
	// A sink that is none is offered the document once more when watched files change.
	Reread(ctx context.Context, watched Watched) (Result, error)
}

// A Claimer is a [Sink] that can be the only one on what it manages.
type Claimer interface {
	// Claim returns nil when nobody else manages what this sink does, nor can until its process ends, and otherwise an error
	// that says who does and what to do. The daemon calls it once, before the first Health or Apply; who only checks
	// documents never does. It may wait a few seconds for a sink that is on its way out, but not beyond ctx.
	Claim(ctx context.Context) error
}

// A Notifier is a [Sink] that tells when a document that Apply reported as applied is no longer in effect: the program did not
// stay up with it, say, or what was changed at run time had to be taken back.
type Notifier interface {
	// OnLost is called once, before the first Health or Apply. The sink calls lost whenever it has put another document into
	// effect than the one that Apply reported last, after it has done so. lost does not block and may be called from any
	// goroutine; what was reported and not yet read is replaced by what is newer.
	OnLost(lost func(Lost))
}

// Lost is a document that is no longer in effect, although Apply reported it as applied.
type Lost struct {
	// Err says why. An error of [NotLoaded] keeps the daemon from offering the same document again by itself; after any other
	// error it is offered again at once.
	Err error
	// Generation is that of the [Document] that is in effect instead; 0 where the sink does not know it.
	Generation uint64
	// Digest is that of the Document that is no longer in effect, and empty where the sink does not know it. The daemon may have
	// offered a newer one meanwhile, which the sink has applied: that one is still in effect then.
	Digest string
}

// A Stopper is a [Sink] or a [Source] that has something to do at an orderly end. Stop is the last call, and it is not
// made when the daemon or the plugin crashes: what must outlive a crash should outlive the lack of Stop as well.
type Stopper interface {
	Stop(ctx context.Context) error
}

// A Document is what one pipeline rendered from one [Snapshot]. It is never modified.
type Document struct {
	Pipeline   string
	Generation uint64 // grows by one with every document of the pipeline that differs from the one before
	Digest     string // see [DigestOf]; equal digests mean equal files
	Files      []File // the main file first, then its companions
	Retry      bool   // try also what failed to load before, see [NotLoaded]: a person asked for it, or enough time has passed
	// Watched is the ID of the [Watched] files at this time, which the program loads with the document if it loads it.
	Watched string
	// LoadFailure says why the last document of the same template failed to load, see [NotLoaded], and is empty if it did not. A
	// plugin that was started again since cannot know that by itself.
	LoadFailure string
}

// Watched are the files that the configuration watches for the program of a sink.
type Watched struct {
	// ID says which files these are and, after a dot, identifies their content. It is empty where none are watched.
	ID string
	// Changed names some that have changed, for people. It may be empty although some have.
	Changed []string
}

// ChangedSince reports whether the content of the files has changed. loaded is the ID that came with the [Document] or the call
// of Reread that succeeded last, and empty where that is not known. Where other files are watched than before, none has changed.
func (w Watched) ChangedSince(loaded string) bool {
	which, content, watches := strings.Cut(w.ID, ".")
	whichLoaded, contentLoaded, _ := strings.Cut(loaded, ".")
	return watches && which == whichLoaded && content != contentLoaded
}

// A File is one rendered file. The sink decides where it goes.
type File struct {
	Name    string
	Content []byte
}

// DigestOf returns the SHA-256 over names and contents of files, in hexadecimal.
func DigestOf(files []File) string {
	h := sha256.New()
	for _, f := range files {
		for _, part := range [][]byte{[]byte(f.Name), f.Content} {
			// A length before each part keeps the border between two parts from moving unnoticed.
			_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
			_, _ = h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// What a sink can have done, in [Result.Action].
const (
	ActionUnchanged = "unchanged" // the document was in effect already
	ActionRuntime   = "runtime"   // the running program was changed in place
	ActionReload    = "reload"    // the running program took over the document without losing its sockets
	ActionRestart   = "restart"   // the program was started
	ActionWritten   = "written"   // the files were written and nothing had to be told
	ActionOther     = "other"     // what the daemon makes of any other word
)

// A Result says what a sink did and why, for people.
type Result struct {
	Action  string // one of the Action constants
	Reason  string // why that, and not less
	Took    time.Duration
	Details []string // what else a person would want to see, such as the warnings of a check
}

// Health is the answer of [Sink.Health] and of a [Reporter].
type Health struct {
	Problems []string          // one sentence each; empty when all is well
	Facts    map[string]string // what a person would want to know: a version, a process id
}

// OK reports whether there is no problem.
func (h Health) OK() bool { return len(h.Problems) == 0 }

// Info names a plugin.
type Info struct {
	Name    string // such as "nginx"; shown to people
	Version string
}

// Env is what the daemon gives to every sink and source at its start.
type Env struct {
	Name string       // the name under which the configuration knows it
	Log  *slog.Logger // lines arrive in the daemon's log
}
