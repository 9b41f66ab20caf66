// Command haproxy-api-source-consul is a source plugin of haproxy-api that reads the instances of services from Consul.
//
// This file has the configuration, query.go repeats one blocking query, watch.go makes those that are needed and emits
// snapshots, view.go has the present instances, and decode.go converts them.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// A config is the source's block of the configuration. The environment variables of Consul's own programs, such as
// CONSUL_HTTP_ADDR, set what is empty here.
type config struct {
	Address    string        `json:"address"`    // of an agent, as "host:port", "https://host:port" or "unix:///path"
	Token      string        `json:"token"`      // needs service:read and node:read
	Datacenter string        `json:"datacenter"` // empty for that of the agent
	Services   []string      `json:"services"`   // empty for all
	Tag        string        `json:"tag"`        // instances without it are ignored; empty for all instances
	CAFile     string        `json:"ca_file"`    // for an address with https
	CertFile   string        `json:"cert_file"`  // the client's certificate, if Consul requires one
	KeyFile    string        `json:"key_file"`
	Timeout    time.Duration `json:"timeout"` // how long Consul may take to respond
}

func defaults() config { return config{Timeout: 10 * time.Second} }

// Validate returns all faults at once.
func (c config) Validate() error {
	var faults []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for i, name := range c.Services {
		require(name != "", "services[%d] is empty", i)
		require(name == "" || slices.Index(c.Services, name) == i, "services[%d] repeats %q", i, name)
	}
	require((c.CertFile == "") == (c.KeyFile == ""), "cert_file and key_file must be set together")
	require(c.Timeout > 0, "timeout is %v: it must be positive", c.Timeout)
	return errors.Join(faults...)
}

// open does not connect to Consul, which may start later than the plugin.
func open(_ context.Context, env sdk.Env, cfg config) (sdk.Source, error) {
	settings := api.DefaultConfig()
	settings.Address = cmp.Or(cfg.Address, settings.Address)
	settings.Token = cmp.Or(cfg.Token, settings.Token)
	settings.Datacenter = cfg.Datacenter
	settings.TLSConfig.CAFile, settings.TLSConfig.CertFile, settings.TLSConfig.KeyFile = cfg.CAFile, cfg.CertFile, cfg.KeyFile
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, sdk.Rejectf("the client of Consul: %v", err)
	}
	return &source{
		name: env.Name, log: env.Log, cfg: cfg, client: client, closeIdle: settings.Transport.CloseIdleConnections,
		wait: time.Minute, minRetry: 250 * time.Millisecond, maxRetry: 15 * time.Second,
	}, nil
}

func main() {
	serve.Source(sdk.Info{Name: "consul", Version: "1.0"}, defaults(), open)
}
