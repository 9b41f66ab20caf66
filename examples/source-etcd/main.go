// Command haproxy-api-source-etcd is a source plugin of haproxy-api that reads instances from the keys under a prefix of etcd
// v3.
//
// It is also an example for other sources. This file has the configuration, watch.go reads and watches the keys, view.go has
// the present instances, and decode.go validates them.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// A config is the source's block of the configuration.
type config struct {
	Endpoints   []string      `json:"endpoints"`    // members of the cluster, as "http://host:port" or "host:port"
	Prefix      string        `json:"prefix"`       // of the keys; what follows it is NAME/HOST/ID
	DialTimeout time.Duration `json:"dial_timeout"` // how long etcd may take to respond
	Username    string        `json:"username"`     // empty if etcd does not require one
	Password    string        `json:"password"`
}

func defaults() config {
	return config{Prefix: "/services/", DialTimeout: 5 * time.Second}
}

// Validate returns all faults at once.
func (c config) Validate() error {
	var faults []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	require(len(c.Endpoints) > 0, `endpoints is missing: list members of the cluster, such as ["http://127.0.0.1:2379"]`)
	for i, endpoint := range c.Endpoints {
		require(endpoint != "", "endpoints[%d] is empty", i)
	}
	require(strings.HasSuffix(c.Prefix, "/"),
		"prefix is %q: it must end with a slash, so that it does not match other keys", c.Prefix)
	require(c.DialTimeout > 0, "dial_timeout is %v: it must be positive", c.DialTimeout)
	require((c.Username == "") == (c.Password == ""), "username and password must be set together")
	return errors.Join(faults...)
}

// open does not connect to etcd, which may start later than the plugin.
func open(_ context.Context, env sdk.Env, cfg config) (sdk.Source, error) {
	return &source{name: env.Name, log: env.Log, cfg: cfg, probeInterval: 10 * time.Second, retryInterval: time.Second}, nil
}

func main() {
	serve.Source(sdk.Info{Name: "etcd", Version: "1.0"}, defaults(), open)
}
