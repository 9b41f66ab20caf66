package daemon

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// An Input is something that a check has read or run.
type Input struct {
	Kind   string `json:"kind"`             // such as "configuration" or "template"
	Name   string `json:"name"`             // a path or the name of an environment variable
	Detail string `json:"detail,omitempty"` // such as the version of HAProxy
}

// Inputs returns the templates, the programs and the certificates of the configuration. It leaves out what cannot be read, which
// is a fault.
func (c *Checker) Inputs(ctx context.Context) []Input {
	all := c.templateInputs()
	for _, table := range []string{"source", "sink"} {
		for _, typ := range c.pluginTypes(table) {
			plugin := c.cfg.Plugins[typ]
			path, err := host.Find(table, typ, plugin.Path, c.cfg.PluginDir)
			if err != nil {
				continue
			}
			if _, err := os.Stat(path); err == nil {
				all = append(all, Input{"plugin", path, withPin(table+" "+typ, plugin.SHA256)})
			}
		}
	}
	all = append(all, c.haproxyInputs(ctx)...)
	if cert, err := apiclient.ReadCertificate(c.cfg.API.TLSCert); err == nil && cert != nil {
		all = append(all, Input{"certificate", c.cfg.API.TLSCert, "valid until " + cert.NotAfter.UTC().Format(time.DateOnly)})
	}
	if file := c.cfg.API.ClientCA; file != "" && c.accessErr == nil {
		all = append(all, Input{"authorities", file, ""})
	}
	return all
}

func withPin(detail, sha256 string) string {
	if sha256 != "" {
		detail += ", with the sha256 of the configuration"
	}
	return detail
}

// templateInputs returns the templates of all pipelines.
func (c *Checker) templateInputs() []Input {
	var all []Input
	for _, name := range sortedKeys(c.cfg.Pipelines) {
		p := c.cfg.Pipelines[name]
		of := "pipeline " + name
		if p.Template == "" || isReadable(p.Template) {
			all = append(all, Input{"template", cmp.Or(p.Template, "built in"), of})
		}
		for _, file := range sortedKeys(p.Files) {
			if isReadable(p.Files[file]) {
				all = append(all, Input{"template", p.Files[file], of + ", for " + file})
			}
		}
		for _, pattern := range p.Partials {
			matches, _ := filepath.Glob(pattern) // an invalid pattern is a fault of the configuration
			for _, path := range matches {
				all = append(all, Input{"partial", path, of})
			}
		}
	}
	return all
}

func isReadable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// pluginTypes returns the types of a kind of component that are not built in, without the default plugin.
func (c *Checker) pluginTypes(kind string) []string {
	types := map[string]bool{}
	for _, source := range c.cfg.Sources {
		types[source.Type] = kind == "source"
	}
	for _, sink := range c.cfg.Sinks {
		types[sink.Type] = types[sink.Type] || kind == "sink"
	}
	var all []string
	for _, typ := range sortedKeys(types) {
		_, configured := c.cfg.Plugins[typ]
		if types[typ] && !isBuiltIn(kind, typ) && (typ != typeHAProxy || configured) {
			all = append(all, typ)
		}
	}
	return all
}

// haproxyInputs returns the HAProxy of each sink, and notes one that is older than those that are tested.
func (c *Checker) haproxyInputs(ctx context.Context) []Input {
	var all []Input
	forEachHAProxySink(c.cfg, func(name string, sink haproxy.Config) {
		path, version, err := haproxy.Installed(ctx, sink.Binary)
		if err != nil {
			return
		}
		all = append(all, Input{"haproxy", path, strings.TrimPrefix(version+", sink "+name, ", ")})
		if haproxy.IsOlderThanTested(version) {
			c.note(fmt.Sprintf("%s is HAProxy %s, which is older than the oldest version that haproxy-api is tested with, %s; "+
				"servers may not be changed without reloads", path, version, haproxy.OldestTested))
		}
	})
	return all
}

// certificateExpires is how long before its end a certificate is warned of.
const certificateExpires = 30 * 24 * time.Hour

// certificateWarning returns a warning of a certificate of the daemon that is not valid now or not for long, or "".
func certificateWarning(file string, now time.Time) string {
	cert, err := apiclient.ReadCertificate(file)
	switch {
	case err != nil || cert == nil:
		return "" // a fault of the access policy, or there is none
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the certificate in %s (haproxy_api.tls_cert) expired on %s: renew it", file,
			cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the certificate in %s (haproxy_api.tls_cert) is not valid before %s: check the clock", file,
			cert.NotBefore.UTC().Format(time.RFC3339))
	case now.Add(certificateExpires).After(cert.NotAfter):
		return fmt.Sprintf("the certificate in %s (haproxy_api.tls_cert) expires on %s: renew it", file,
			cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return ""
}
