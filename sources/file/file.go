// Package file is a source whose catalogue is a file that somebody edits.
//
// The file is JSON or YAML and holds either what a Sidecar sends (a state, a services document, services by name, an
// event) or a list of instances as a person would write it:
//
//   - name: web
//     hostname: node-1
//     image: web:1.4
//     ports:
//   - port: 31180        # where the instance listens
//     service_port: 8080 # where the proxy offers it; leave it out and it is not offered
//     ip: 10.0.0.1       # the hostname's address, if left out
//
// Keys are those of [sdk.Instance] and [sdk.Port] whatever their case, with or without underscores: service_port is
// ServicePort. All but the name and either a hostname or a port's ip may be left out: the id is then made of the
// other fields, proxy_mode is http, status is alive (a name or a number), and a port's type is tcp. In the list, an
// unknown key is a fault, and so is an instance that is there twice.
package file

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Config is the configuration of a [Source].
type Config struct {
	// Path is the file. One that ends in .json is JSON, one in .yaml or .yml is YAML, and any other is JSON if it begins
	// as such.
	Path string `json:"path"`
}

// Defaults returns the configuration that holds where nothing is said. The path has to be said.
func Defaults() Config { return Config{} }

// Validate returns all that is wrong with c. Whether the file is there is none of that: it may come later.
func (c Config) Validate() error {
	if c.Path == "" {
		return errors.New("path: which file to read is not said")
	}
	return nil
}

// A Source watches one file.
type Source struct {
	name string
	log  *slog.Logger
	path string
}

// New returns a source for the file in config.
func New(env sdk.Env, config Config) (*Source, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, fmt.Errorf("path: the working directory, in which %s would be, is unknown: %w", config.Path, err)
	}
	return &Source{name: env.Name, log: cmp.Or(env.Log, slog.New(slog.DiscardHandler)), path: path}, nil
}
