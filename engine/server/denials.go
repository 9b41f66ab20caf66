package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// denialInterval is the time after which the same denial is logged again.
	denialInterval = time.Hour
	// maxDenials bounds the lines, and the memory for them, within that time.
	maxDenials = 1000
)

// A denialLog logs denied requests once for each kind of denial and address, so that a client that sends many of them does not
// fill the disk.
type denialLog struct {
	log *slog.Logger

	mu     sync.Mutex
	since  time.Time
	logged map[loggedDenial]bool
}

type loggedDenial struct {
	kind string
	from netip.Addr
}

func newDenialLog(log *slog.Logger) *denialLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &denialLog{log: log, logged: map[loggedDenial]bool{}}
}

func (d *denialLog) add(r *http.Request, kind string) {
	from, _ := addressOf(r.RemoteAddr)
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.since) >= denialInterval {
		d.since = now
		clear(d.logged)
	}
	if d.logged[loggedDenial{kind, from}] || len(d.logged) > maxDenials {
		return
	}
	if len(d.logged) == maxDenials {
		d.logged[loggedDenial{}] = true
		d.log.Warn("too many requests are denied: no more of them are logged within the hour")
		return
	}
	d.logged[loggedDenial{kind, from}] = true
	d.log.Warn("request denied; more like it are not logged within the hour", "because", kind, "from", from.String())
}
