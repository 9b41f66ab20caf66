// Command haproxy-api-sink-nginx is a sink plugin of haproxy-api: it makes documents live in nginx.
//
// It is also a model for sinks of your own. This file says what the plugin can be told, sink.go what it does with a
// document, stage.go how files change without ever being half changed, and nginx.go how one speaks to nginx.
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
	ConfigFile    string        `json:"config_file"`    // where the main file goes; companions go into its folder
	Binary        string        `json:"binary"`         // a name to find in PATH, or a path
	Prefix        string        `json:"prefix"`         // what relative paths in the document are relative to
	PidFile       string        `json:"pid_file"`       // where nginx writes its process id
	HealthURL     string        `json:"health_url"`     // what nginx answers with a status below 400; empty for not asking
	CheckTimeout  time.Duration `json:"check_timeout"`  // how long nginx -t may take
	ReloadTimeout time.Duration `json:"reload_timeout"` // how long new workers may take to come up
	OnExit        string        `json:"on_exit"`        // "leave" nginx running when the sink is stopped, or "stop" it

	errorLog string // where nginx says why it cannot reload
}

func defaults() config {
	return config{Binary: "nginx", CheckTimeout: 30 * time.Second, ReloadTimeout: 10 * time.Second, OnExit: "leave"}
}

// Validate is called by the sdk, which shows all the faults to the person in one go.
func (c config) Validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.ConfigFile != "", "config_file is missing: it says where nginx's configuration is written")
	need(c.Binary != "", "binary is empty: name the nginx program, such as %q", "nginx")
	need(c.HealthURL == "" || strings.HasPrefix(c.HealthURL, "http"),
		"health_url is %q: it must begin with http:// or https://", c.HealthURL)
	need(c.CheckTimeout > 0, "check_timeout is %v: it must be more than nothing", c.CheckTimeout)
	need(c.ReloadTimeout > 0, "reload_timeout is %v: it must be more than nothing", c.ReloadTimeout)
	need(c.OnExit == "leave" || c.OnExit == "stop", "on_exit is %q: it must be %q or %q", c.OnExit, "leave", "stop")
	return errors.Join(faults...)
}

// settled fills in the paths that follow from others. All become absolute: nginx outlives our working directory.
func (c config) settled() (config, error) {
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
	cfg, err := cfg.settled()
	if err != nil {
		return nil, err
	}
	return &sink{
		cfg: cfg, log: env.Log, nginx: nginx{cfg},
		// A connection that is kept would keep asking the workers of the generation before.
		client: &http.Client{Timeout: 800 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

func main() {
	serve.Sink(sdk.Info{Name: "nginx", Version: "1.0"}, defaults(), open)
}
