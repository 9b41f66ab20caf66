package main

import (
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// options are the flags that every subcommand has.
type options struct {
	configFile string
	set        []string
	flags      *pflag.FlagSet
}

func (o *options) register(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVarP(&o.configFile, "config-file", "f", "haproxy-api.toml", "configuration in TOML, YAML or JSON")
	flags.StringP("follow", "F", "", "follow the Sidecar at `HOST:PORT` instead of waiting for pushes")
	flags.String("log-level", "", "debug, info, warn or error")
	flags.String("log-format", "", "text or json")
	flags.StringArrayVar(&o.set, "set", nil, "set a configuration key: `key=value`; may be given again")
}

// file returns the configuration file, and whether somebody named it.
func (o *options) file() (path string, named bool) {
	path, named = o.configFile, o.flags.Changed("config-file")
	if env, ok := os.LookupEnv(config.EnvFile); ok && !named && env != "" {
		path, named = env, true
	}
	return path, named
}

// load reads the configuration from everywhere it comes from.
func (o *options) load() (*config.Config, error) {
	file, named := o.file()
	cfg, err := config.Load(config.Options{
		File: file, Named: named, Environ: os.Environ(), Set: o.set, Flags: o.flags,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// newLogger logs to standard error in the way that the configuration asks for. The level may be changed.
func newLogger(api config.API) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(api.LoggingLevel)
	opts := &slog.HandlerOptions{Level: level}
	if api.LoggingFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), level
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts)), level
}
