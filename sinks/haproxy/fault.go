package haproxy

import "log/slog"

// A fault is something that may go on for a while. It is logged when it begins, when its reason changes and when it ends. The
// zero value is for none.
type fault struct{ logged string }

// report takes the reason of the fault, which is nil when there is none, with what to log when it begins and when it ends.
func (f *fault) report(log *slog.Logger, err error, begins, ends string) {
	was := f.logged
	f.logged = ""
	if err != nil {
		f.logged = err.Error()
	}
	switch {
	case f.logged == was:
	case err != nil:
		log.Error(begins, "error", err)
	default:
		log.Info(ends)
	}
}
