package statestore

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/trust"
)

// OpenHistory implements [engine.StateStore].
func (s *Store) OpenHistory(pipeline string) *history.Log {
	name := historyFile(pipeline)
	s.mu.Lock()
	before := s.histories[pipeline]
	s.mu.Unlock()
	if before != nil {
		before.Close()
	}
	var content []byte
	s.retryRead(name, func(path string) (err error) {
		content, err = readFile(path)
		return err
	})
	log := history.Open(content, appendedFile(filepath.Join(s.dir, name)), s.log.With("pipeline", pipeline))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histories[pipeline] = log
	return log
}

func historyFile(pipeline string) string { return "history-" + pipeline + ".jsonl" }

// An appendedFile is the path of a file that lines are appended to. It implements [history.File].
type appendedFile string

// Append implements [history.File].
func (path appendedFile) Append(lines []byte) error {
	if err := trust.Check(filepath.Dir(string(path))); err != nil {
		return err
	}
	const flags = os.O_APPEND | os.O_CREATE | os.O_WRONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(string(path), flags, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errNotRegular, f.Close())
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Sync(), f.Close())
}

// Replace implements [history.File].
func (path appendedFile) Replace(content []byte) error { return replace(string(path), content) }
