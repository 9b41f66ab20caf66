package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A sink keeps one nginx true to the documents that it is given. It remembers nothing but what is on disk and in the
// running nginx, so that a plugin that was started again goes on where the one before it was.
type sink struct {
	cfg    config
	log    *slog.Logger
	nginx  nginx
	client *http.Client
}

// Apply stages the document, has nginx check it, renames it into place and has nginx load it. If nginx does not, the
// files before it come back. Cancelling ctx ends Apply until the files are in place; after that either end is near.
func (s *sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	began := time.Now()
	result, err := s.apply(ctx, doc)
	result.Took = time.Since(began)
	return result, err
}

func (s *sink) apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	files, err := place(s.cfg, doc)
	if err != nil {
		return sdk.Result{}, err
	}
	if s.inEffect(files) {
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: "nginx runs with these very files"}, nil
	}
	st, err := newStage(beside(s.cfg), s.cfg, files)
	if err != nil {
		return sdk.Result{}, err
	}
	defer st.discard()
	warnings, err := s.nginx.check(ctx, st)
	if err != nil {
		return sdk.Result{}, err
	}
	if ctx.Err() != nil {
		return sdk.Result{}, fmt.Errorf("the change was broken off before it had an effect: %w", context.Cause(ctx))
	}
	result, err := s.switchTo(context.WithoutCancel(ctx), st)
	result.Details = append(result.Details, warnings...)
	return result, err
}

// inEffect reports whether nginx runs with files. The files on disk alone do not tell: a plugin that was killed may have
// put them there and never come to the reload. That is what the doubt is for, see stage.go.
func (s *sink) inEffect(files []file) bool {
	if s.nginx.master() == 0 || inDoubt(s.cfg) {
		return false
	}
	for _, f := range files {
		if content, err := os.ReadFile(f.path); err != nil || !bytes.Equal(content, f.content) {
			return false
		}
	}
	return true
}

func (s *sink) switchTo(ctx context.Context, st *stage) (sdk.Result, error) {
	if err := st.commit(); err != nil {
		return sdk.Result{}, err
	}
	// The files are live from here on: each way out has nginx run with them or puts those before back.
	result := sdk.Result{Action: sdk.ActionReload, Reason: "the files differ from those before"}
	mark := s.nginx.logSize()
	master := s.nginx.master()
	var err error
	if master == 0 {
		result.Action, result.Reason = sdk.ActionRestart, "nginx was not running"
		err = s.nginx.start(ctx)
	} else {
		err = s.nginx.reload(ctx, master)
	}
	if err != nil {
		return sdk.Result{Details: s.nginx.logSince(mark)}, errors.Join(err, s.putBack(ctx, st, master))
	}
	return result, st.settled()
}

// putBack restores the files, and has nginx load them once more where it runs: a reload that was only slow may still be
// under way, and then this one comes after it, so that nginx and the files agree whatever happened.
func (s *sink) putBack(ctx context.Context, st *stage, master int) error {
	if err := st.restore(); err != nil {
		return err
	}
	if master == 0 {
		return nil
	}
	if err := s.nginx.reload(ctx, master); err != nil {
		return fmt.Errorf("the configuration before was put back, but nginx did not confirm it: %w", err)
	}
	return st.settled()
}

// Check has nginx judge the document in a folder of its own, so that it may be called at any time.
func (s *sink) Check(ctx context.Context, doc sdk.Document) error {
	files, err := place(s.cfg, doc)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "haproxy-api-nginx-")
	if err != nil {
		return fmt.Errorf("there is no place to check the configuration in: %w", err)
	}
	defer os.RemoveAll(dir)
	st, err := newStage(dir, s.cfg, files)
	if err != nil {
		return err
	}
	_, err = s.nginx.check(ctx, st)
	return err
}

// Health looks at nginx's processes and asks health_url.
func (s *sink) Health(ctx context.Context) (sdk.Health, error) {
	master := s.nginx.master()
	if master == 0 {
		return sdk.Health{Problems: []string{"nginx is not running"}}, nil
	}
	workers := s.nginx.workers(master)
	health := sdk.Health{Facts: map[string]string{
		"master": strconv.Itoa(master), "workers": strconv.Itoa(len(workers)),
	}}
	if len(workers) == 0 {
		health.Problems = append(health.Problems, fmt.Sprintf("nginx's master %d has no worker that takes requests", master))
	}
	if err := s.ask(ctx); err != nil {
		health.Problems = append(health.Problems, err.Error())
	}
	return health, nil
}

func (s *sink) ask(ctx context.Context) error {
	if s.cfg.HealthURL == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.HealthURL, http.NoBody)
	if err != nil {
		return fmt.Errorf("health_url cannot be asked: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("nginx does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("nginx answers %s with %s", s.cfg.HealthURL, resp.Status)
	}
	return nil
}

// Stop leaves nginx running unless the configuration says otherwise: the next plugin adopts it.
func (s *sink) Stop(ctx context.Context) error {
	if s.cfg.OnExit == "leave" {
		return nil
	}
	s.log.Info("stopping nginx")
	return s.nginx.quit(ctx)
}

var (
	_ sdk.Sink    = (*sink)(nil)
	_ sdk.Checker = (*sink)(nil)
	_ sdk.Stopper = (*sink)(nil)
)
