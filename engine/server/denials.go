package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// A denialLog logs denied requests once an hour for each kind of denial and address, so that a client that sends many of them
// does not fill the disk.
type denialLog struct {
	log     *slog.Logger
	counter *logdedup.Counter
}

// newDenialLog returns a log that writes to log, or to nothing if that is nil.
func newDenialLog(log *slog.Logger) denialLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return denialLog{log: log, counter: logdedup.NewCounter(time.Hour)}
}

func (d denialLog) add(r *http.Request, kind string) {
	from, _ := addressOf(r.RemoteAddr)
	switch n, separate := d.counter.Add(kind+" "+from.String(), time.Now()); {
	case n > 1:
		return
	case !separate:
		d.log.Warn("too many requests denied; logging no more of them within the hour")
	default:
		d.log.Warn("request denied; not logging more like it within the hour", "reason", kind, "client", from.String())
	}
}
