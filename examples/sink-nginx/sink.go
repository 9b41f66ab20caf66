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

// A sink applies documents to one nginx. Its state is on disk and in the running nginx, so that a restarted plugin continues
// where the previous one ended.
type sink struct {
	cfg    config
	log    *slog.Logger
	nginx  nginx
	client *http.Client
}

// Apply stages the document, has nginx check it, renames it into place and has nginx load it. If nginx does not load it,
// Apply restores the previous files. The end of ctx stops Apply before the files are in place, and not after that.
func (s *sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	began := time.Now()
	result, err := s.apply(ctx, doc)
	result.Took = time.Since(began)
	return result, err
}

func (s *sink) apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	files, err := filesOf(s.cfg, doc)
	if err != nil {
		return sdk.Result{}, err
	}
	if s.inEffect(files) {
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: "nginx runs with these files"}, nil
	}
	st, err := newStage(stageDir(s.cfg), s.cfg, files)
	if err != nil {
		return sdk.Result{}, err
	}
	defer st.discard()
	warnings, err := s.nginx.check(ctx, st)
	if err != nil {
		return sdk.Result{}, err
	}
	if ctx.Err() != nil {
		return sdk.Result{}, fmt.Errorf("cancelled before the files were replaced: %w", context.Cause(ctx))
	}
	result, err := s.switchTo(context.WithoutCancel(ctx), st)
	result.Details = append(result.Details, warnings...)
	return result, err
}

// inEffect reports whether nginx runs with files. Equal files on disk are not enough: a plugin that was killed may have
// written them without a reload. The marker in stage.go shows that.
func (s *sink) inEffect(files []file) bool {
	if s.nginx.master() == 0 || isUnconfirmed(s.cfg) {
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
	// The files are live from here on: either nginx loads them, or the previous ones are restored.
	result := sdk.Result{Action: sdk.ActionReload, Reason: "the files differ from the previous ones"}
	logSize := s.nginx.logSize()
	master := s.nginx.master()
	var err error
	if master == 0 {
		result.Action, result.Reason = sdk.ActionRestart, "nginx was not running"
		err = s.nginx.start(ctx)
	} else {
		err = s.nginx.reload(ctx, master)
	}
	if err != nil {
		return sdk.Result{Details: s.nginx.logSince(logSize)}, errors.Join(err, s.restore(ctx, st, master))
	}
	return result, st.confirm()
}

// restore restores the previous files and has a running nginx load them. The failed reload may still be in progress; the
// second reload comes after it, so that nginx and the files agree in any case.
func (s *sink) restore(ctx context.Context, st *stage, master int) error {
	if err := st.restore(); err != nil {
		return err
	}
	if master == 0 {
		return nil
	}
	if err := s.nginx.reload(ctx, master); err != nil {
		return fmt.Errorf("the previous configuration was restored, but nginx did not load it: %w", err)
	}
	return st.confirm()
}

// Check has nginx check the document in a directory of its own, so that it can be called at any time.
func (s *sink) Check(ctx context.Context, doc sdk.Document) error {
	files, err := filesOf(s.cfg, doc)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "haproxy-api-nginx-")
	if err != nil {
		return fmt.Errorf("creating a directory for the check: %w", err)
	}
	defer os.RemoveAll(dir)
	st, err := newStage(dir, s.cfg, files)
	if err != nil {
		return err
	}
	_, err = s.nginx.check(ctx, st)
	return err
}

// Health checks nginx's processes and requests health_url.
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
		health.Problems = append(health.Problems, fmt.Sprintf("nginx's master %d has no worker that accepts requests", master))
	}
	if err := s.requestHealthURL(ctx); err != nil {
		health.Problems = append(health.Problems, err.Error())
	}
	return health, nil
}

func (s *sink) requestHealthURL(ctx context.Context) error {
	if s.cfg.HealthURL == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.HealthURL, http.NoBody)
	if err != nil {
		return fmt.Errorf("health_url cannot be requested: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("nginx does not respond: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("nginx answers %s with %s", s.cfg.HealthURL, resp.Status)
	}
	return nil
}

// Stop leaves nginx running for the next plugin, unless on_exit is "stop".
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
