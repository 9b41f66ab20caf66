// Package file is a source that reads its catalogue from a file.
//
// The file is JSON or YAML. It contains either what a Sidecar sends (a state, a services document, services by name, an
// event) or a list of instances:
//
//	# services.yaml
//	- name: web
//	  hostname: node-1
//	  image: web:1.4
//	  ports:
//	    - port: 31180        # the port of the instance
//	      service_port: 8080 # the port at which the proxy offers it; without it the port is not offered
//	      ip: 10.0.0.1       # default: the address of the hostname
//
// Keys are those of [sdk.Instance] and [sdk.Port] in any case, with or without underscores: service_port is
// ServicePort. Required are the name and either a hostname or a port's ip. The id defaults to a hash of the
// other fields, proxy_mode to http, status (a name or a number) to alive, and a port's type to tcp. In the list, an
// unknown key is an error, and so are two instances with the same hostname and id.
//
// The package knows neither pipelines nor templates and sinks.
package file

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Config is the configuration of a [Source]. The comments of its fields are in docs/configuration.md.
type Config struct {
	// The file with the catalogue, which is read again when it changes. It is JSON if its name ends in `.json`, YAML if it ends
	// in `.yaml` or `.yml`, and otherwise JSON if it begins with a bracket. It is required.
	Path string `json:"path"`
}

// Defaults returns the default configuration. Path has no default.
func Defaults() Config { return Config{} }

// Validate returns all faults of c. A file that does not exist is none: it may be created later.
func (c Config) Validate() error {
	if c.Path == "" {
		return errors.New("path is missing: set it to the file to read")
	}
	return nil
}

// A Source watches one file.
type Source struct {
	name string
	log  *slog.Logger
	path string

	fault logdedup.Fault // the file cannot be read
}

// New returns a source for the file in config.
func New(env sdk.Env, config Config) (*Source, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, fmt.Errorf("path %s is relative to an unknown working directory: %w", config.Path, err)
	}
	return &Source{name: env.Name, log: cmp.Or(env.Log, slog.New(slog.DiscardHandler)), path: path}, nil
}
