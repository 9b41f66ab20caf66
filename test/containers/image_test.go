//go:build linux

package containers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

const (
	version   = "1.2.3-test"
	waitLimit = 2 * time.Minute
)

// An image is what the Dockerfile builds.
type image struct {
	root   string // its files
	config struct {
		User, WorkingDir, StopSignal string
		Env, Entrypoint, Cmd         []string
		Labels                       map[string]string
		ExposedPorts                 map[string]struct{}
		Healthcheck                  struct{ Test []string }
	}
}

// TestImage builds the image with the Dockerfile, and runs it with its own configuration and with those of the examples.
func TestImage(t *testing.T) {
	if problem := cannotBuild(); problem != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(problem)
		}
		t.Skip(problem)
	}
	image := buildImage(t)
	t.Run("Config", func(t *testing.T) { checkConfig(t, image) })
	t.Run("OwnConfiguration", func(t *testing.T) { testOwnConfiguration(t, image) })
	t.Run("Sidecar", func(t *testing.T) { testSidecar(t, image) })
	t.Run("Gateway", func(t *testing.T) { testGateway(t, image) })
	t.Run("Kubernetes", func(t *testing.T) { testKubernetes(t, image) })
}

func cannotBuild() error {
	if os.Geteuid() != 0 {
		return errors.New("building and running an image needs root")
	}
	_, err := exec.LookPath("buildah")
	return err
}

// buildImage builds the image with Buildah. Base images are not downloaded: Debian is that of debiantest, and Go this machine's.
func buildImage(t *testing.T) image {
	t.Helper()
	dir := t.TempDir()
	storage := []string{"--root", dir + "/storage", "--runroot", dir + "/run", "--storage-driver", "vfs"}
	buildah := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "buildah", append(slices.Clone(storage), args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("buildah %s: %v\n%s\n%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return out
	}
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	build := func(args ...string) {
		t.Helper()
		buildah(append([]string{"bud", "--isolation", "chroot", "--pull-never"}, args...)...)
	}

	build("--file", write("Debian", "FROM scratch\nCOPY . /\n"), "--tag", "docker.io/library/debian:bookworm-slim",
		debiantest.New(t).Root)
	// A proxy may have given this machine certificate authorities of its own.
	certificates := t.TempDir()
	bundle := readFile(t, "/etc/ssl/certs/ca-certificates.crt")
	if err := os.WriteFile(certificates+"/ca-certificates.crt", bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	build("--file", write("Go", "FROM debian:bookworm-slim\nCOPY ca-certificates.crt /\nENV SSL_CERT_FILE=/ca-certificates.crt "+
		"GOTOOLCHAIN=local PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
		"--tag", "docker.io/library/golang:1.26-bookworm", certificates)
	rootfs := filepath.Join(dir, "rootfs")
	build("--format", "docker", "--tag", "haproxy-api", "--output", "type=local,dest="+rootfs,
		"--build-arg", "VERSION="+version, "--build-arg", "TARGETOS=linux", "--build-arg", "TARGETARCH="+runtime.GOARCH,
		"--volume", goEnv(t, "GOROOT")+":/usr/local/go:ro", "--volume", goEnv(t, "GOMODCACHE")+":/root/go/pkg/mod",
		"--volume", goEnv(t, "GOCACHE")+":/root/.cache/go-build", repository)
	if err := os.Chmod(rootfs, 0o755); err != nil { // Buildah creates the directory for its own user
		t.Fatal(err)
	}
	result := image{root: rootfs}
	var inspected struct {
		Docker struct {
			Config json.RawMessage `json:"config"`
		}
	}
	if err := json.Unmarshal(buildah("inspect", "--type", "image", "haproxy-api"), &inspected); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(inspected.Docker.Config, &result.config); err != nil {
		t.Fatal(err)
	}
	return result
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func checkConfig(t *testing.T, image image) {
	c := image.config
	if c.User != "10001:10001" || c.WorkingDir != "/etc/haproxy-api" || c.StopSignal != "SIGTERM" || len(c.Cmd) > 0 ||
		!slices.Equal(c.Entrypoint, []string{"haproxy-api"}) {
		t.Errorf("the configuration is %+v", c)
	}
	if _, exposed := c.ExposedPorts["7778/tcp"]; !exposed {
		t.Errorf("exposed ports %v", c.ExposedPorts)
	}
	if got := c.Labels["org.opencontainers.image.version"]; got != version {
		t.Errorf("the version is %q", got)
	}
	for _, name := range []string{"LICENSE", "THIRD-PARTY-NOTICES"} {
		readFile(t, filepath.Join(image.root, "usr/share/doc/haproxy-api", name))
	}
}

// The image needs nothing but pushes. Its health check succeeds, and the state is written although its directory did not exist.
func testOwnConfiguration(t *testing.T, image image) {
	c := start(t, image, nil, volumes())
	c.serve(t, "127.0.0.1:9001", "one")
	c.eventually("a push is accepted", func() bool {
		return c.push(`{"State":{"Servers":{"one":{"Name":"one","Services":{"a":`+
			`{"ID":"a","Name":"web","Image":"web:1","Hostname":"one","ProxyMode":"http","Updated":"2026-01-02T15:04:05Z",`+
			`"Ports":[{"Type":"tcp","Port":9001,"ServicePort":8000,"IP":"127.0.0.1"}]}}}}},"ChangeEvent":{}}`) == http.StatusOK
	})
	c.waitAnswer("http://127.0.0.1:8000/", http.StatusOK, "one")
	if out, err := c.exec(image.config.Healthcheck.Test[1:]...); err != nil || image.config.Healthcheck.Test[0] != "CMD" {
		t.Errorf("health check %q: %v\n%s", image.config.Healthcheck.Test, err, out)
	}
	if out, err := c.exec("haproxy-api", "--version"); err != nil || !strings.Contains(out, version) {
		t.Errorf("version: %v %s", err, out)
	}
	c.eventually("the state is written", func() bool {
		_, err := c.exec("test", "-s", "/var/lib/haproxy-api/state/source-sidecar.json")
		return err == nil
	})
	c.stop()
	if strings.Contains(c.log.String(), "level=ERROR") {
		t.Errorf("the log:\n%s", c.log.String())
	}
}

func testSidecar(t *testing.T, image image) {
	c := start(t, image, nil, append(volumes(), volume{"/etc/haproxy-api", repository + "/examples/containers/sidecar/config"}))
	c.startSidecar(t)
	c.waitAnswer("http://127.0.0.1:8000/", http.StatusOK, "one")
	c.waitAnswer("http://127.0.0.1:3212/", http.StatusOK, "")
	c.check(t)
	c.stop()
}

func testGateway(t *testing.T, image image) {
	env := []string{"HAPROXY_API_FOLLOW=127.0.0.1:7777"}
	c := start(t, image, env, append(volumes(), volume{"/etc/haproxy-api", repository + "/examples/containers/gateway/config"}))
	c.startSidecar(t)
	c.waitAnswer("http://127.0.0.1:8080/web/", http.StatusOK, "one")
	c.waitAnswer("http://127.0.0.1:8080/other/", http.StatusNotFound, "")
	c.check(t)
	c.stop()
}

// A kubelet mounts a ConfigMap as links through ..data, and replaces that link by a rename when the ConfigMap changes.
func testKubernetes(t *testing.T, image image) {
	m := loadManifests(t)
	dir := t.TempDir()
	configMap := func(version string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range m.config.Data {
			if err := os.WriteFile(filepath.Join(dir, version, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name))
			if err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink(version, dir+"/..data_tmp"), os.Rename(dir+"/..data_tmp", dir+"/..data")); err != nil {
			t.Fatal(err)
		}
	}
	configMap("..2026_01_02_15_04_05.1")
	mounts := []volume{{"/etc/haproxy-api", dir}}
	for _, v := range m.deployment.Spec.Template.Spec.Containers[0].VolumeMounts {
		if v.MountPath != "/etc/haproxy-api" {
			mounts = append(mounts, volume{v.MountPath, "tmpfs:gid=10001,mode=2777"}) // an emptyDir with fsGroup
		}
	}
	c := start(t, image, []string{"HAPROXY_API_FOLLOW=127.0.0.1:7777"}, mounts)
	container := m.deployment.Spec.Template.Spec.Containers[0]
	c.waitAnswer("http://127.0.0.1:7778"+container.LivenessProbe.HTTPGet.Path, http.StatusOK, "")
	c.waitAnswer("http://127.0.0.1:7778"+container.StartupProbe.HTTPGet.Path, http.StatusOK, "")
	c.waitAnswer("http://127.0.0.1:7778"+container.ReadinessProbe.HTTPGet.Path, http.StatusServiceUnavailable, "")
	c.startSidecar(t)
	c.waitAnswer("http://127.0.0.1:7778"+container.ReadinessProbe.HTTPGet.Path, http.StatusOK, "")
	c.waitAnswer(fmt.Sprintf("http://127.0.0.1:%d/web/", container.Ports[0].ContainerPort), http.StatusOK, "one")
	c.check(t)
	if out, err := c.exec(container.Lifecycle.PreStop.Exec.Command[0], "0"); err != nil {
		t.Errorf("preStop: %v %s", err, out)
	}
	m.config.Data["haproxy.tmpl"] = strings.Replace(m.config.Data["haproxy.tmpl"], "return status 404", "return status 410", 1)
	configMap("..2026_01_02_15_05_05.2")
	if err := os.RemoveAll(filepath.Join(dir, "..2026_01_02_15_04_05.1")); err != nil {
		t.Fatal(err)
	}
	c.waitAnswer(fmt.Sprintf("http://127.0.0.1:%d/other/", container.Ports[0].ContainerPort), http.StatusGone, "")
	c.stop()
}

// volumes returns the volumes of the Compose files except that of the configuration.
func volumes() []volume {
	const owned = "tmpfs:uid=10001,gid=10001,mode=0755"
	return []volume{{"/run/haproxy-api", owned}, {"/var/lib/haproxy-api", owned}, {"/tmp", "tmpfs:mode=1777"}}
}

// startSidecar starts a Sidecar with an instance of the service web, which answers with "one".
func (c *container) startSidecar(t *testing.T) {
	t.Helper()
	c.serve(t, "127.0.0.1:9001", "one")
	sidecar := sidecartest.New(sidecartest.Options{})
	sidecar.Add(sdk.Instance{
		ID: "a", Name: "web", Hostname: "one", Image: "web:1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: 9001, ServicePort: 8000, IP: "127.0.0.1"}},
	})
	server := &http.Server{Handler: sidecar, ReadHeaderTimeout: waitLimit}
	listener := c.netns.listen(t, "127.0.0.1:7777")
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); sidecar.Close() })
}

// serve answers requests at that address in the container's network with the text.
func (c *container) serve(t *testing.T, address, text string) {
	t.Helper()
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }),
		ReadHeaderTimeout: waitLimit,
	}
	listener := c.netns.listen(t, address)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

// check runs haproxy-api check in the container, with the state of the daemon.
func (c *container) check(t *testing.T) {
	t.Helper()
	if out, err := c.exec("haproxy-api", "check", "--live"); err != nil {
		t.Errorf("haproxy-api check: %v\n%s", err, out)
	}
}

// push posts a state and returns the status code; it is 0 if there is no answer.
func (c *container) push(body string) int {
	resp, err := c.netns.client().Post("http://127.0.0.1:7778/update", "application/json", strings.NewReader(body))
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// waitAnswer waits until a request in the container's network is answered with that status code, and the body unless it is empty.
func (c *container) waitAnswer(url string, code int, body string) {
	c.t.Helper()
	var last string
	defer func() {
		if c.t.Failed() {
			c.t.Logf("the last answer of %s: %s", url, last)
		}
	}()
	c.eventually(fmt.Sprintf("%s answers %d %s", url, code, body), func() bool {
		resp, err := c.netns.client().Get(url)
		if err != nil {
			last = err.Error()
			return false
		}
		defer resp.Body.Close()
		content, _ := io.ReadAll(resp.Body)
		last = fmt.Sprintf("%d %s", resp.StatusCode, content)
		return resp.StatusCode == code && (body == "" || string(content) == body)
	})
}
