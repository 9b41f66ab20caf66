package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// componentPaths are keys of sources and sinks in these tests.
var componentPaths = map[config.ComponentKey]config.PathUse{
	{Table: "sources", Type: "file", Key: "path"}: config.ReadsFile,
	{Table: "sinks", Type: "file", Key: "path"}:   config.WritesFile,
}

// touch creates the files, and directories for paths that end with a slash.
func touch(t *testing.T, directory string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		full := filepath.Join(directory, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(p, "/") {
			_ = os.Mkdir(full, 0o700)
		} else if err := os.WriteFile(full, []byte("content of "+p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Every key with a path, each with a relative path, in a configuration file that is not in the working directory.
const relativePaths = `
plugin_dir = "plugins"
[haproxy_api]
state_dir = "state"
update_token_file = "token"
tls_cert = "cert.pem"
tls_key = "key.pem"
client_ca = "ca.pem"
[sidecar]
state_url_file = "url"
[haproxy]
template = "haproxy.tmpl"
config_file = "out/haproxy.cfg"
pid_file = "out/haproxy.pid"
binary = "bin/haproxy"
watch = ["certs/*.pem"]
[plugins.third]
path = "bin/plugin"
[sources.s]
type = "file"
path = "services.json"
[sinks.f]
type = "file"
path = "out/main"
[sinks.third]
type = "third"
path = "out/third"
[pipelines.p]
source = "s"
sink = "f"
template = "p.tmpl"
files = { "routes.map" = "routes.tmpl" }
partials = ["parts/*.tmpl"]
watch = ["certs/*.pem"]
`

var relativeFiles = []string{
	"plugins/", "state/", "token", "cert.pem", "key.pem", "ca.pem", "url", "haproxy.tmpl", "out/", "bin/haproxy",
	"bin/plugin", "certs/a.pem", "services.json", "p.tmpl", "routes.tmpl", "parts/a.tmpl",
}

// pathsOf returns all paths of a configuration that was made of relativePaths.
func pathsOf(c *config.Config) map[string]string {
	p := c.Pipelines["p"]
	return map[string]string{
		"plugin_dir": c.PluginDir, "state_dir": c.API.StateDir, "update_token_file": c.API.UpdateTokenFile,
		"tls_cert": c.API.TLSCert, "tls_key": c.API.TLSKey, "client_ca": c.API.ClientCA,
		"state_url_file": c.Sidecar.StateURLFile, "haproxy.template": c.HAProxy.Template,
		"config_file": c.HAProxy.ConfigFile, "pid_file": c.HAProxy.PIDFile, "binary": c.HAProxy.Binary,
		"haproxy.watch": c.HAProxy.Watch[0], "plugins.third": c.Plugins["third"].Path,
		"sources.s": c.Sources["s"].Block["path"].(string), "sinks.f": c.Sinks["f"].Block["path"].(string),
		"template": p.Template, "files": p.Files["routes.map"], "partials": p.Partials[0], "watch": p.Watch[0],
		"sinks.haproxy": c.Sinks["haproxy"].Block["config_file"].(string),
	}
}

func loadRelative(t *testing.T, here, there []string) (*config.Config, string) {
	t.Helper()
	workingDir, directory := t.TempDir(), t.TempDir()
	touch(t, workingDir, here...)
	touch(t, directory, there...)
	file := filepath.Join(directory, "haproxy-api.toml")
	url := func(dir string) { // the secret files must have valid contents
		if _, err := os.Stat(filepath.Join(dir, "url")); err == nil {
			_ = os.WriteFile(filepath.Join(dir, "url"), []byte("http://sidecar"), 0o600)
		}
	}
	url(workingDir)
	url(directory)
	if err := os.WriteFile(file, []byte(relativePaths), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(workingDir)
	return load(t, config.Options{File: file, Named: true, Paths: componentPaths}), directory
}

// Most paths lead to the directory of the configuration file if the working directory does not have them, and each is in a
// warning.
func TestLoad_PathsBesideTheFile(t *testing.T) {
	c, directory := loadRelative(t, nil, relativeFiles)
	got := pathsOf(c)
	for key, p := range got {
		if !strings.HasPrefix(p, directory+"/") {
			t.Errorf("%s is %s", key, p)
		}
	}
	if third := c.Sinks["third"].Block["path"]; third != "out/third" {
		t.Errorf("the key of a third party's sink is %v", third)
	}
	// sinks.haproxy comes from the table haproxy; three more warn of what no pipeline uses.
	relative := slices.DeleteFunc(c.Warnings, func(w string) bool { return !strings.Contains(w, " names the relative path ") })
	if len(relative) != len(got)-1 {
		t.Errorf("%d warnings for %d paths: %q", len(relative), len(got), relative)
	}
	for _, v := range c.Values() {
		if want := filepath.Join(directory, "haproxy.tmpl"); v.Key == "haproxy.template" && v.Value != want {
			t.Errorf("value %+v, not %s", v, want)
		}
	}
}

// The working directory takes precedence, as in haproxy-api 0.9. Each warning names the path that is not used.
func TestLoad_PathsInBothDirectories(t *testing.T) {
	c, directory := loadRelative(t, relativeFiles, relativeFiles)
	for key, p := range pathsOf(c) {
		if filepath.IsAbs(p) {
			t.Errorf("%s is %s", key, p)
		}
		if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, filepath.Join(directory, p)+" ") }) {
			t.Errorf("no warning names %s in %s: %q", p, directory, c.Warnings)
		}
	}
}

func TestLoad_PathsInTheWorkingDirectory(t *testing.T) {
	c, _ := loadRelative(t, relativeFiles, nil)
	for key, p := range pathsOf(c) {
		if filepath.IsAbs(p) {
			t.Errorf("%s is %s", key, p)
		}
	}
	if slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "relative path") }) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// A path that leads nowhere stays relative to the working directory. If it is read, a warning names both directories.
func TestLoad_PathsInNeitherDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	directory := t.TempDir()
	file := filepath.Join(directory, "haproxy-api.toml")
	content := "[haproxy]\ntemplate = 'x.tmpl'\nconfig_file = 'out/x.cfg'\nwatch = ['x/*']\n[haproxy_api]\nstate_dir = 'state'\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, config.Options{File: file, Named: true})
	got := []string{c.HAProxy.Template, c.HAProxy.ConfigFile, c.HAProxy.Watch[0], c.API.StateDir}
	if !slices.Equal(got, []string{"x.tmpl", "out/x.cfg", "x/*", "state"}) {
		t.Errorf("paths %q", got)
	}
	wd, _ := os.Getwd()
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], wd) || !strings.Contains(c.Warnings[0], directory) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// A bare file name that is written goes to the working directory, with a warning, since both directories exist.
func TestLoad_PathOfABareNameToWrite(t *testing.T) {
	t.Chdir(t.TempDir())
	directory := t.TempDir()
	file := filepath.Join(directory, "haproxy-api.toml")
	if err := os.WriteFile(file, []byte("[haproxy]\nconfig_file = 'haproxy.cfg'\nbinary = 'haproxy'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, directory, "haproxy")
	c := load(t, config.Options{File: file, Named: true})
	if c.HAProxy.ConfigFile != "haproxy.cfg" || c.HAProxy.Binary != "haproxy" {
		t.Errorf("%+v", c.HAProxy)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], filepath.Join(directory, "haproxy.cfg")) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// Paths from the environment and flags are relative to the working directory, like those of any other program.
func TestLoad_PathsOutsideTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	directory := t.TempDir()
	touch(t, directory, "x.tmpl", "cert.pem", "key.pem", "in")
	file := filepath.Join(directory, "haproxy-api.toml")
	content := "[sources.s]\npath = 'in'\n[pipelines.p]\nsource = 's'\nsink = 'f'\n[sinks.f]\ntype = 'x'\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, config.Options{
		File: file, Named: true, Paths: componentPaths,
		Environ: []string{"HAPROXY_API_HAPROXY_TEMPLATE=x.tmpl", "HAPROXY_API_SOURCES__S__TYPE=file"},
		Set:     []string{"haproxy_api.tls_cert=cert.pem", "haproxy_api.tls_key=key.pem"},
	})
	if c.HAProxy.Template != "x.tmpl" || c.API.TLSCert != "cert.pem" || c.API.TLSKey != "key.pem" {
		t.Errorf("%s, %s, %s", c.HAProxy.Template, c.API.TLSCert, c.API.TLSKey)
	}
	if got := c.Sources["s"].Block["path"]; got != filepath.Join(directory, "in") {
		t.Errorf("a path in the file, with the type from the environment, is %v", got)
	}
}
