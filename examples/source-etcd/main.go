// Command haproxy-api-source-etcd is a source plugin of haproxy-api: its catalogue is the keys under a prefix of etcd v3.
//
// It is also a model for sources of your own. This file says what the plugin can be told, watch.go how it follows the
// catalogue through all troubles, view.go what it knows of it, and decode.go what it believes of what it is told.
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
	DialTimeout time.Duration `json:"dial_timeout"` // how long a question may go without an answer
	Username    string        `json:"username"`     // empty where etcd asks for none
	Password    string        `json:"password"`
}

func defaults() config {
	return config{Prefix: "/services/", DialTimeout: 5 * time.Second}
}

// Validate is called by the sdk, which shows all the faults to the person in one go.
func (c config) Validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	need(len(c.Endpoints) > 0, `endpoints is missing: list members of the cluster, such as ["http://127.0.0.1:2379"]`)
	for i, endpoint := range c.Endpoints {
		need(endpoint != "", "endpoints[%d] is empty", i)
	}
	need(strings.HasSuffix(c.Prefix, "/"),
		"prefix is %q: it must end with a slash, or it would be that of other keys too", c.Prefix)
	need(c.DialTimeout > 0, "dial_timeout is %v: it must be more than nothing", c.DialTimeout)
	need((c.Username == "") == (c.Password == ""), "username and password are set together or not at all")
	return errors.Join(faults...)
}

// open does not look for etcd: it may come later than we do.
func open(_ context.Context, env sdk.Env, cfg config) (sdk.Source, error) {
	return &source{name: env.Name, log: env.Log, cfg: cfg, pulse: 10 * time.Second, pause: time.Second}, nil
}

func main() {
	serve.Source(sdk.Info{Name: "etcd", Version: "1.0"}, defaults(), open)
}
