package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/engine"
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
	return logTo(os.Stderr, api.LoggingFormat, level), level
}

// logTo logs to w, a line for each record, without secrets and with nothing in it that a terminal obeys: much of it is what others
// have said, and they may say it endlessly, see [floodgate].
func logTo(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(newFloodgate(slog.NewJSONHandler(filter{w, func(line []byte) []byte {
			return engine.PrintableJSON(engine.MaskedJSON(line))
		}}, opts)))
	}
	text := func(line []byte) []byte { return []byte(engine.Printable(engine.MaskedLine(string(line)))) }
	return slog.New(newFloodgate(slog.NewTextHandler(filter{w, text}, opts)))
}

// A filter passes on what clean makes of each record, which slog writes in one piece.
type filter struct {
	io.Writer
	clean func([]byte) []byte
}

func (f filter) Write(record []byte) (int, error) {
	if _, err := f.Writer.Write(f.clean(record)); err != nil {
		return 0, err
	}
	return len(record), nil
}
