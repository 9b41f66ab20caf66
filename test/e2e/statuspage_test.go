package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// uiTests has the tests of the status page, which Node runs with Chromium.
const uiTests = "../ui"

// installUITests installs the packages that the tests need, once and again after their lock file has changed.
var installUITests = sync.OnceValue(func() error {
	locked, err := os.Stat(filepath.Join(uiTests, "package-lock.json"))
	if err != nil {
		return err
	}
	installed, err := os.Stat(filepath.Join(uiTests, "node_modules/.package-lock.json"))
	if err == nil && !installed.ModTime().Before(locked.ModTime()) {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts")
	cmd.Dir = uiTests
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

const browser = "chromium"

// needBrowser skips the test if the machine has no browser or no Node. In CI that is a failure.
func needBrowser(t *testing.T) {
	t.Helper()
	for _, program := range []string{browser, "node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%v: scripts/install-deps test installs it", err)
			}
			t.Skipf("%v: scripts/install-deps test installs it", err)
		}
	}
	if err := installUITests(); err != nil {
		t.Fatal(err)
	}
}

// runUITests runs a file of tests in Node with the environment variables env, which name the daemon.
func runUITests(t *testing.T, file string, env ...string) {
	t.Helper()
	runNode(t, env, "--test", "--test-reporter=spec", file)
}

func runNode(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = uiTests
	path, err := exec.LookPath(browser)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(append(os.Environ(), "CHROMIUM="+path), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Errorf("node %s: %v", strings.Join(args, " "), err)
	}
}

// control serves what the tests in Node ask the environment to do. Each name is a path.
func (env *testEnv) control(actions map[string]func(r *http.Request) error) string {
	mux := http.NewServeMux()
	for name, do := range actions {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	server := httptest.NewServer(mux)
	env.t.Cleanup(server.Close)
	return "CONTROL_URL=" + server.URL
}

// startStatusPage starts a daemon with one instance and a template, and returns the environment variables for runUITests.
func startStatusPage(t *testing.T, settings ...string) (env *testEnv, variables []string) {
	t.Helper()
	env = newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", templateRevision(0))
	env.startInstance("web", "web-1", 10100)
	env.start(append([]string{"--set", "sidecar.hold=10m", "--set", "sidecar.resync_interval=1s"}, settings...)...)
	env.waitAnswer(10100, "web-1")
	controlURL := env.control(map[string]func(r *http.Request) error{
		"add": func(r *http.Request) error {
			env.sidecar.Add(silentInstance(r.FormValue("service"), r.FormValue("id")))
			return nil
		},
		"template": func(r *http.Request) error {
			var content bytes.Buffer
			if _, err := content.ReadFrom(r.Body); err != nil {
				return err
			}
			return os.WriteFile(env.path("haproxy.tmpl"), content.Bytes(), 0o600)
		},
		"drain": func(r *http.Request) error {
			if id := r.FormValue("id"); !env.sidecar.Drain("host-"+id, id) {
				return fmt.Errorf("there is no instance %s", id)
			}
			return nil
		},
		"forget": func(*http.Request) error { env.sidecar.Restart(); return nil },
	})
	return env, []string{"DAEMON_URL=http://" + env.apiAddress, controlURL, "PROXY_URL=" + proxyBelowPath(t, env.apiAddress)}
}

// silentInstance returns an instance that nobody listens for.
func silentInstance(service, id string) sdk.Instance {
	return sdk.Instance{
		ID: id, Name: service, Hostname: "host-" + id, Image: "web:1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: 9, ServicePort: 10100, IP: "127.0.0.1"}},
	}
}

// proxyBelowPath starts a reverse proxy that serves address below a path and replaces the Host header, as nginx does by default.
// It returns its address.
func proxyBelowPath(t *testing.T, address string) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
	}}
	server := httptest.NewServer(http.StripPrefix("/proxy", proxy))
	t.Cleanup(server.Close)
	return server.URL + "/proxy"
}

func TestStatusPage(t *testing.T) {
	needBrowser(t)
	_, variables := startStatusPage(t)
	runUITests(t, "daemon.test.mjs", variables...)
}

func TestStatusPage_Token(t *testing.T) {
	needBrowser(t)
	for _, protected := range []string{"false", "true"} {
		t.Run("protect_reads="+protected, func(t *testing.T) {
			env, variables := startStatusPage(t, "--set", "haproxy_api.update_token="+testToken,
				"--set", "haproxy_api.protect_reads="+protected)
			runUITests(t, "token.test.mjs", append(variables, "TOKEN="+testToken, "PROTECTED="+protected)...)
			if strings.Contains(env.log.String(), testToken) {
				t.Error("the log has the token")
			}
		})
	}
}

// TestStatusPage_Fixtures tests the page with answers that a daemon rarely gives.
func TestStatusPage_Fixtures(t *testing.T) {
	needBrowser(t)
	_, variables := startStatusPage(t)
	runUITests(t, "fixtures.test.mjs", variables...)
}

// TestStatusPage_LargeCatalogue tests the page with a daemon that has 10,000 instances.
func TestStatusPage_LargeCatalogue(t *testing.T) {
	needBrowser(t)
	const instances = 10_000
	env, variables := startStatusPage(t)
	env.sidecar.Burst(func(b *sidecartest.Batch) {
		for i := range instances - 1 {
			b.Add(silentInstance("web", fmt.Sprintf("web-%d", i+2))) // web-1 is there already
		}
	})
	env.eventually("all are in effect", func() bool { return len(env.servers()) == instances })
	runUITests(t, "large.test.mjs", variables...)
}

// TestStatusPage_Screenshots writes the screenshots of the documentation into the directory SCREENSHOTS, for a look at them.
func TestStatusPage_Screenshots(t *testing.T) {
	if os.Getenv("SCREENSHOTS") == "" {
		t.Skip("SCREENSHOTS is not set")
	}
	needBrowser(t)
	_, variables := startStatusPage(t)
	runNode(t, append(variables, "SCREENSHOTS="+os.Getenv("SCREENSHOTS")), "screenshots.mjs")
}

// TestStatusPage_VendoredLibraries fails if the libraries of the page differ from those that scripts/vendor-ui copies.
func TestStatusPage_VendoredLibraries(t *testing.T) {
	needBrowser(t)
	if out, err := exec.CommandContext(t.Context(), "../../scripts/vendor-ui", "--check").CombinedOutput(); err != nil {
		t.Errorf("%v; scripts/vendor-ui copies them again\n%s", err, out)
	}
}
