package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// noteAgain is after which time the same refusal is worth another line.
	noteAgain = time.Hour
	// notesKept bounds the lines, and the memory for them, in that time.
	notesKept = 1000
)

// A notebook logs who was refused: once for each kind of refusal and address, not for each request, since who sends many
// requests must not fill the disk.
type notebook struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time
	noted map[note]bool
}

type note struct {
	kind string
	from netip.Addr
}

func newNotebook(log *slog.Logger) *notebook {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &notebook{log: log, noted: map[note]bool{}}
}

func (n *notebook) note(r *http.Request, kind string) {
	from, _ := addressOf(r.RemoteAddr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.since) >= noteAgain {
		n.since = now
		clear(n.noted)
	}
	if n.noted[note{kind, from}] || len(n.noted) > notesKept {
		return
	}
	if len(n.noted) == notesKept {
		n.noted[note{}] = true
		n.log.Warn("too many requests are refused: no more of them are logged within the hour")
		return
	}
	n.noted[note{kind, from}] = true
	n.log.Warn("a request was refused; more like it are not logged within the hour",
		"because", kind, "from", from.String())
}
