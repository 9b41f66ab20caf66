package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/filewatch"
)

// calm is how long the files have to be left alone before they are taken for whole. Half a configuration may be a good one, which
// half a template seldom is.
const calm = 200 * time.Millisecond

// A reloader takes up the configuration anew when its file is saved and when it is told to.
type reloader struct {
	opts   *options
	daemon *daemon
	log    *slog.Logger
	told   <-chan os.Signal
	there  bool // the file was, so that it should be
	faulty bool // the last try ended with faults
}

// run watches until ctx is done.
func (r *reloader) run(ctx context.Context) {
	saved := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		filewatch.Files(ctx, r.files, func() {
			select {
			case saved <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	settled := time.NewTimer(0)
	settled.Stop()
	defer settled.Stop()
	var left string // what the files said when the timer was set
	for {
		select {
		case <-ctx.Done():
			<-watched
			return
		case <-r.told:
			cfg, err := r.load()
			r.takeUp(ctx, cfg, err, true)
			r.daemon.engine.Reread()
		case <-saved:
			left = r.look()
			settled.Reset(calm)
		case <-settled.C:
			cfg, err := r.load()
			// The news of a save takes a moment, in which the time may be up that an earlier one began.
			if now := r.look(); now != left {
				left = now
				settled.Reset(calm)
				continue
			}
			r.takeUp(ctx, cfg, err, false)
		}
	}
}

// files are those whose content is the configuration.
func (r *reloader) files() []string {
	file, _ := r.opts.file()
	all := []string{file}
	cfg := r.daemon.now().cfg
	for _, secret := range []string{cfg.API.UpdateTokenFile, cfg.Sidecar.StateURLFile} {
		if secret != "" {
			all = append(all, secret)
		}
	}
	return all
}

// look returns what the files say, to be compared.
func (r *reloader) look() string {
	var all strings.Builder
	for _, file := range r.files() {
		content, err := os.ReadFile(file)
		fmt.Fprintf(&all, "%q %v\n", content, err)
	}
	return all.String()
}

// takeUp puts in force what load returned, and says what became of it. Where it is in force already, that is told only to who
// wants to know.
func (r *reloader) takeUp(ctx context.Context, cfg *config.Config, err error, tell bool) {
	var changed []string
	before := r.daemon.now().cfg
	if err == nil {
		changed, err = r.daemon.change(ctx, cfg)
	}
	if ctx.Err() != nil {
		return
	}
	r.daemon.metrics.ConfigReloaded(err == nil)
	if err != nil {
		r.faulty = true
		r.log.Error("the configuration is not taken up, and the one before stays: " + oneLine(err.Error()))
		return
	}
	news := tell || r.faulty || len(changed) > 0
	r.faulty = false
	for _, key := range needRestart(before.API, cfg.API) {
		r.log.Warn("this is taken up with the next restart", "key", key)
	}
	if len(changed) == 0 {
		changed = []string{"nothing changed"}
	}
	if news {
		for _, warning := range cfg.Warnings {
			r.log.Warn(warning)
		}
		r.log.Info("configuration reloaded: " + strings.Join(changed, ", "))
	}
}

// load reads the configuration. A file that was there and is gone, or has nothing in it, is one in the making or a mishap: to
// take the defaults for what somebody wanted would be the end of all that runs.
func (r *reloader) load() (*config.Config, error) {
	file, _ := r.opts.file()
	content, err := os.ReadFile(file)
	empty := err == nil && len(bytes.TrimSpace(content)) == 0
	switch {
	case r.there && errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is gone; restart to do without it", file)
	case r.there && empty:
		return nil, fmt.Errorf("%s is empty; restart to do without it", file)
	}
	r.there = err == nil && !empty
	return r.opts.load()
}
