package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/logging"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

// options are the flags that every subcommand has.
type options struct {
	configFile string
	set        []string
	address    string // of the daemon to query; "" for the address in the configuration
	clientCert string // the file of the certificate to present to the daemon; "" for none
	clientKey  string // the file of its key; "" for the same file
	output     string // the output format: text or json
	flags      *pflag.FlagSet
}

func (o *options) register(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVarP(&o.configFile, "config-file", "f", config.DefaultFile, "configuration `FILE` in TOML, YAML or JSON")
	flags.StringP("follow", "F", "", "follow the Sidecar at `HOST:PORT` instead of waiting for pushes")
	flags.String("log-level", "", "log from this `LEVEL` on: debug, info, warn or error")
	flags.String("log-format", "", "log in this `FORMAT`: text or json")
	flags.StringArrayVar(&o.set, "set", nil, "set a configuration key: `KEY=VALUE`; may be repeated")
}

// withAddress adds the flags that say which daemon to query, and with which certificate.
func (o *options) withAddress(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&o.address, "address", "",
		"the daemon to query, as `URL` or HOST:PORT, instead of the one in the configuration ("+config.EnvAddress+")")
	cmd.Flags().StringVar(&o.clientCert, "client-cert", "",
		"`FILE` of the client certificate in PEM format, if the daemon needs one ("+config.EnvClientCert+")")
	cmd.Flags().StringVar(&o.clientKey, "client-key", "",
		"`FILE` of the key of --client-cert, if it is another one ("+config.EnvClientKey+")")
	return cmd
}

// withOutput adds the flag --output, which selects the output format.
func (o *options) withOutput(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&o.output, "output", "text", "output in this `FORMAT`: text or json")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.output != "text" && o.output != "json" {
			return &usageError{fmt.Errorf("--output %q is neither text nor json", o.output)}
		}
		return run(cmd, args)
	}
	return cmd
}

// json reports whether the output format is JSON.
func (o *options) json() bool { return o.output == "json" }

// printJSON writes v as indented JSON, with control characters escaped.
func printJSON(out io.Writer, v any) error {
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(engine.PrintableJSON(content.Bytes()))
	return err
}

// client returns a client of the running daemon. If the address of the daemon is given, the configuration is optional; a readable
// one provides the certificate and the token.
func (o *options) client() (apiclient.Client, error) {
	cfg, err := o.load()
	if err == nil {
		return o.clientFor(cfg)
	}
	if o.daemonAddress() == "" {
		return apiclient.Client{}, fmt.Errorf("%w\nto query a running daemon without its configuration, use --address", err)
	}
	return o.clientFor(&config.Config{})
}

// clientFor returns a client of the running daemon whose configuration is cfg.
func (o *options) clientFor(cfg *config.Config) (apiclient.Client, error) {
	identity, err := o.identity()
	if err != nil {
		return apiclient.Client{}, &usageError{err}
	}
	if address := o.daemonAddress(); address != "" {
		client, err := apiclient.NewAt(address, cfg, identity)
		if err != nil {
			return client, &usageError{err}
		}
		return client, nil
	}
	return apiclient.New(cfg, identity), nil
}

// identity returns the client certificate to present to the daemon, or nil for none.
func (o *options) identity() (*tls.Certificate, error) {
	cert := cmp.Or(o.clientCert, os.Getenv(config.EnvClientCert))
	key := cmp.Or(o.clientKey, os.Getenv(config.EnvClientKey), cert)
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" {
		return nil, errors.New("--client-key needs --client-cert")
	}
	return apiclient.ReadIdentity(cert, key)
}

func (o *options) daemonAddress() string { return cmp.Or(o.address, os.Getenv(config.EnvAddress)) }

// file returns the path of the configuration file, and whether the user named it.
func (o *options) file() (path string, named bool) {
	path, named = o.configFile, o.flags.Changed("config-file")
	if env, ok := os.LookupEnv(config.EnvFile); ok && !named && env != "" {
		path, named = env, true
	}
	return path, named
}

// load loads the configuration from the file, the environment and the flags. The error is a usage error.
func (o *options) load() (*config.Config, error) {
	file, named := o.file()
	cfg, err := config.Load(config.Options{
		File: file, Named: named, Environ: os.Environ(), Set: o.set, Flags: o.flags, Paths: daemon.ComponentPaths,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// serviceConfig is the configuration file of the service that the packages install.
var serviceConfig = "/etc/haproxy-api/haproxy-api.toml"

// defaultsNote says that the defaults apply although the service has a configuration file, and is empty if that is not so.
func (o *options) defaultsNote() string {
	file, named := o.file()
	if named {
		return ""
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if _, err := os.Stat(serviceConfig); err != nil {
		return ""
	}
	return fmt.Sprintf("the defaults apply, because the working directory has no %s; for the configuration of the service use "+
		"-f %s", file, serviceConfig)
}

// loadWithNote is load for a command that is not about the running daemon. It prints [options.defaultsNote].
func (o *options) loadWithNote(cmd *cobra.Command) (*config.Config, error) {
	if note := o.defaultsNote(); note != "" {
		printNotes(cmd, []string{note})
	}
	return o.load()
}

// newLogger returns a logger that writes to standard error in the configured format, and its level.
func newLogger(api config.API) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(api.LoggingLevel)
	return logging.New(os.Stderr, api.LoggingFormat, level), level
}
