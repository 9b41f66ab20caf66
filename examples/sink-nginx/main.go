// Command haproxy-api-sink-nginx is a sink plugin of haproxy-api that applies documents to nginx.
//
// It is also an example for other sinks. This file has the configuration, sink.go applies documents, stage.go replaces files,
// and nginx.go controls nginx.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// A config is the sink's block of the configuration.
type config struct {
	ConfigFile    string        `json:"config_file"`    // the main file; companions are written to its directory
	Binary        string        `json:"binary"`         // a name in PATH, or a path
	Prefix        string        `json:"prefix"`         // the directory of relative paths in the document
	PidFile       string        `json:"pid_file"`       // where nginx writes its process id
	HealthURL     string        `json:"health_url"`     // nginx must answer it with a status below 400; empty for no request
	CheckTimeout  time.Duration `json:"check_timeout"`  // how long nginx -t may take
	ReloadTimeout time.Duration `json:"reload_timeout"` // how long new workers may take to start
	OnExit        string        `json:"on_exit"`        // "leave" nginx running when the sink stops, or "stop" it

	errorLog string // nginx writes here why it cannot reload
}

func defaults() config {
	return config{Binary: "nginx", CheckTimeout: 30 * time.Second, ReloadTimeout: 10 * time.Second, OnExit: "leave"}
}

// Validate returns all faults at once.
func (c config) Validate() error {
	var faults []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	require(c.ConfigFile != "", "config_file is missing: it says where nginx's configuration is written")
	require(c.Binary != "", "binary is empty: name the nginx program, such as %q", "nginx")
	require(c.HealthURL == "" || strings.HasPrefix(c.HealthURL, "http"),
		"health_url is %q: it must begin with http:// or https://", c.HealthURL)
	require(c.CheckTimeout > 0, "check_timeout is %v: it must be positive", c.CheckTimeout)
	require(c.ReloadTimeout > 0, "reload_timeout is %v: it must be positive", c.ReloadTimeout)
	require(c.OnExit == "leave" || c.OnExit == "stop", "on_exit is %q: it must be %q or %q", c.OnExit, "leave", "stop")
	return errors.Join(faults...)
}

// withPaths returns c with the default paths. All paths are absolute, since nginx runs longer than the plugin.
func (c config) withPaths() (config, error) {
	stem := strings.TrimSuffix(c.ConfigFile, filepath.Ext(c.ConfigFile))
	c.Prefix = cmp.Or(c.Prefix, filepath.Dir(c.ConfigFile))
	c.PidFile = cmp.Or(c.PidFile, stem+".pid")
	c.errorLog = stem + ".error.log"
	var err error
	for _, path := range []*string{&c.ConfigFile, &c.Prefix, &c.PidFile, &c.errorLog} {
		if *path, err = filepath.Abs(*path); err != nil {
			return c, fmt.Errorf("the working directory is unknown: give absolute paths: %w", err)
		}
	}
	return c, nil
}

func open(_ context.Context, env sdk.Env, cfg config) (sdk.Sink, error) {
	cfg, err := cfg.withPaths()
	if err != nil {
		return nil, err
	}
	return &sink{
		cfg: cfg, log: env.Log, nginx: nginx{cfg},
		// A kept connection would send later requests to a worker of the previous configuration.
		client: &http.Client{Timeout: 800 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

func main() {
	serve.Sink(sdk.Info{Name: "nginx", Version: "1.0"}, defaults(), open)
}
