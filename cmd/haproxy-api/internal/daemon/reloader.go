package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/filewatch"
)

// quietPeriod is how long the files must not change before they are read. An incomplete configuration can be valid, which is
// less likely for a template.
const quietPeriod = 200 * time.Millisecond

// A Reloader reloads the configuration of a daemon when its file is saved and when a signal arrives.
type Reloader struct {
	daemon       *Daemon
	file         string
	load         func() (*config.Config, error)
	signals      <-chan os.Signal
	fileExpected bool // the file existed when it was read last
	failed       bool // the last reload failed
}

// NewReloader returns a reloader that calls load to read the configuration. file is the configuration file, which need not exist.
// After a signal the reloader also has the sinks reread the files beside their documents.
func NewReloader(d *Daemon, file string, load func() (*config.Config, error), signals <-chan os.Signal) *Reloader {
	_, err := os.Stat(file)
	r := &Reloader{daemon: d, file: file, load: load, signals: signals, fileExpected: err == nil}
	r.recordLoaded()
	return r
}

// Run reloads the configuration until ctx is done.
func (r *Reloader) Run(ctx context.Context) {
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
	quiet := time.NewTimer(0)
	quiet.Stop()
	defer quiet.Stop()
	var content string // of the files when the timer was set
	for {
		select {
		case <-ctx.Done():
			<-watched
			return
		case <-r.signals:
			cfg, err := r.loadConfig()
			r.reload(ctx, cfg, err, true)
			r.daemon.engine.Reread()
		case <-saved:
			content = r.read()
			quiet.Reset(quietPeriod)
		case <-quiet.C:
			cfg, err := r.loadConfig()
			// A save is reported with a delay, so the files may have changed again since the timer was set.
			if now := r.read(); now != content {
				content = now
				quiet.Reset(quietPeriod)
				continue
			}
			r.reload(ctx, cfg, err, false)
		}
	}
}

// files returns the files that the configuration is read from.
func (r *Reloader) files() []string {
	all := []string{r.file}
	cfg := r.daemon.components().cfg
	for _, secret := range []string{cfg.API.UpdateTokenFile, cfg.Sidecar.StateURLFile} {
		if secret != "" {
			all = append(all, secret)
		}
	}
	return all
}

// read returns a text that is the same for the same content of the files.
func (r *Reloader) read() string {
	var all strings.Builder
	for _, file := range r.files() {
		content, err := os.ReadFile(file)
		fmt.Fprintf(&all, "%q %v\n", content, err)
	}
	return all.String()
}

// reload reloads the configuration that was loaded and logs the result. A reload that changes nothing is logged only if it was
// requested or if the previous one failed.
func (r *Reloader) reload(ctx context.Context, cfg *config.Config, err error, requested bool) {
	log := r.daemon.log
	var changed diff
	if err == nil {
		r.daemon.notify.Reloading()
		changed, err = r.daemon.reload(ctx, cfg)
		r.daemon.notify.Reloaded()
	}
	if ctx.Err() != nil {
		return
	}
	r.daemon.metrics.ConfigReloaded(err == nil)
	if err != nil {
		r.failed = true
		r.daemon.server.SetConfigurationError(err)
		log.Error("configuration reload failed; keeping the previous configuration", "error", err)
		return
	}
	r.recordLoaded()
	for _, key := range changed.needRestart {
		log.Warn("change takes effect after a restart", "key", key)
	}
	phrases := changed.describe(cfg.API)
	logged := requested || r.failed || len(phrases) > 0
	r.failed = false
	if !logged {
		return
	}
	for _, warning := range cfg.Warnings {
		log.Warn("configuration warning", "detail", warning)
	}
	if len(phrases) == 0 {
		phrases = []string{"none"}
	}
	log.Info("configuration reloaded", "changes", phrases)
}

// recordLoaded reports to the status that the configuration was loaded now.
func (r *Reloader) recordLoaded() {
	file := ""
	if r.fileExpected {
		file = r.file
		if absolute, err := filepath.Abs(file); err == nil { // for readers elsewhere
			file = absolute
		}
	}
	r.daemon.server.SetConfiguration(file, time.Now())
}

// loadConfig loads the configuration. It returns an error if the file existed before and is now missing or empty. It may
// be about to be written, and the defaults would stop everything that runs.
func (r *Reloader) loadConfig() (*config.Config, error) {
	content, err := os.ReadFile(r.file)
	empty := err == nil && len(bytes.TrimSpace(content)) == 0
	switch {
	case r.fileExpected && errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing; restart haproxy-api to run without it", r.file)
	case r.fileExpected && empty:
		return nil, fmt.Errorf("%s is empty; restart haproxy-api to run without it", r.file)
	}
	r.fileExpected = err == nil && !empty
	return r.load()
}
