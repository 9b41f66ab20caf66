package haproxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Stop stops the supervision of HAProxy, and HAProxy as well if on_exit is "stop": its connections have until drain_timeout,
// or until shortly before ctx ends, to finish. A Sink that has only checked documents leaves HAProxy alone.
func (s *Sink) Stop(ctx context.Context) error {
	defer s.fileLock.Release()
	unused := false
	s.begin.Do(func() { unused = true })
	s.stopOnce.Do(func() { close(s.stopped) })
	s.background.Wait()
	if unused || s.fileLock.Ensure() != nil {
		return nil
	}
	if err := s.lockFiles(context.WithoutCancel(ctx)); err != nil { // its holder is being stopped
		return err
	}
	defer s.files.Release(1)
	err := s.persistPending(ctx)
	s.updateStateFile()
	s.change.Lock()
	defer s.change.Unlock()
	s.client.Close()
	if s.cfg.OnExit != OnExitStop {
		return err
	}
	return errors.Join(err, s.stopHAProxy(ctx))
}

// stopHAProxy stops HAProxy and removes its files.
func (s *Sink) stopHAProxy(ctx context.Context) error {
	now, err := s.controller.Find(ctx)
	if err != nil {
		return fmt.Errorf("HAProxy is left running: %w", err)
	}
	if err := s.paths.Stop(ctx, now); err != nil {
		return err
	}
	return s.removeFiles()
}

// removeFiles removes the files that belong to the HAProxy that was stopped.
func (s *Sink) removeFiles() error {
	var faults []error
	left := []string{s.paths.PidFile, s.paths.BaseFile, s.paths.AdminSocket}
	if !s.cfg.byCommand() {
		left = append(left, s.paths.MasterSocket)
	}
	if written := s.companions.all(); len(written) > 0 {
		s.saveStateFile(stateFile{Written: written})
	} else {
		left = append(left, s.paths.state)
	}
	for _, path := range left {
		if err := replace.Remove(path); err != nil {
			faults = append(faults, fmt.Errorf("cannot remove %s: %w", path, replace.Cause(err)))
		}
	}
	return errors.Join(faults...)
}

var _ sdk.Stopper = (*Sink)(nil)
