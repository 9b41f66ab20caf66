package haproxy

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testEnv is a directory with the files of one HAProxy, a port for it and a backend that answers with its name.
type testEnv struct {
	t       *testing.T
	dir     string
	cfg     Config
	port    int
	backend string
}

// newTestEnv returns a testEnv whose directory has a short path, because the path of a socket has to be short. At the end of the
// test it kills every process that was started on its files.
func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	dir, err := os.MkdirTemp("", "hx")
	check(t, err)
	cfg := Defaults()
	cfg.ReloadInterval = 0 // but where it is what the test is about
	cfg.Binary = cmp.Or(os.Getenv("TEST_HAPROXY"), "haproxy")
	cfg.ConfigFile = filepath.Join(dir, "haproxy.cfg")
	cfg.PidFile = filepath.Join(dir, "haproxy.pid")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "backend")
	}))
	t.Cleanup(server.Close)
	r := &testEnv{t: t, dir: dir, cfg: cfg, port: freePort(t), backend: server.Listener.Addr().String()}
	t.Cleanup(func() {
		killAll(t, dir)
		check(t, os.RemoveAll(dir))
	})
	return r
}

func (r *testEnv) path(name string) string { return filepath.Join(r.dir, name) }

// sink returns a sink that is stopped at the end of the test.
func (r *testEnv) sink() *Sink {
	r.t.Helper()
	s, err := New(sdk.Env{Name: "edge", Log: slog.New(slog.NewTextHandler(r.t.Output(), nil))}, r.cfg)
	check(r.t, err)
	r.t.Cleanup(func() { r.stop(s) })
	return s
}

func (r *testEnv) stop(s *Sink) {
	r.t.Helper()
	check(r.t, s.Stop(context.WithoutCancel(r.t.Context())))
}

// document renders a configuration that answers with a header "X-Is: name".
func (r *testEnv) document(name string, more ...string) sdk.Document {
	config := fmt.Sprintf(`global
    maxconn 100
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
frontend web
    bind 127.0.0.1:%d
    http-response set-header X-Is %s
    default_backend app
backend app
    server s1 %s
%s`, r.port, name, r.backend, strings.Join(more, "\n")+"\n")
	return documentOf(config)
}

func documentOf(config string, companions ...sdk.File) sdk.Document {
	files := append([]sdk.File{{Name: "main", Content: []byte(config)}}, companions...)
	return sdk.Document{Pipeline: "test", Generation: 1, Digest: sdk.DigestOf(files), Files: files}
}

// edited returns doc with its main file changed.
func edited(doc sdk.Document, from, to string) sdk.Document {
	return documentOf(strings.ReplaceAll(string(doc.Files[0].Content), from, to), doc.Files[1:]...)
}

// apply applies doc and checks the action.
func (r *testEnv) apply(s *Sink, doc sdk.Document, action string) sdk.Result {
	r.t.Helper()
	result, err := s.Apply(r.t.Context(), doc)
	check(r.t, err)
	if result.Action != action {
		r.t.Fatalf("Apply did %q (%s), want %q", result.Action, result.Reason, action)
	}
	if result.Reason == "" {
		r.t.Errorf("Apply did %q without a reason", result.Action)
	}
	wantStepsInOrder(r.t, result)
	return result
}

// wantStepsInOrder checks that there are steps, that none begins before the previous one has ended, and that all of them happened
// during the Apply.
func wantStepsInOrder(t *testing.T, result sdk.Result) {
	t.Helper()
	var end time.Duration
	for _, step := range result.Steps {
		if step.Start < end || step.Took < 0 {
			t.Errorf("the step %s begins at %v and took %v, after one that ended at %v", step.Name, step.Start, step.Took, end)
		}
		end = step.Start + step.Took
	}
	if len(result.Steps) == 0 || end > result.Took {
		t.Errorf("the steps %v took longer than the Apply, %v", result.Steps, result.Took)
	}
}

// stepsOf returns the names of the steps, separated by spaces.
func stepsOf(result sdk.Result) string {
	var names []string
	for _, step := range result.Steps {
		names = append(names, step.Name)
	}
	return strings.Join(names, " ")
}

// served makes a request over a new connection and returns the name of the document that answered, or "" without an answer.
func (r *testEnv) served() string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", r.port))
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.Header.Get("X-Is")
}

func (r *testEnv) wantServed(name string) {
	r.t.Helper()
	if got := r.served(); got != name {
		r.t.Fatalf("served by %q, want %q", got, name)
	}
}

// onDisk returns the configuration file, or "" if there is none.
func (r *testEnv) onDisk() string {
	content, err := os.ReadFile(r.cfg.ConfigFile)
	if err != nil {
		return ""
	}
	return string(content)
}

func (r *testEnv) wantOnDisk(doc sdk.Document) {
	r.t.Helper()
	if got, want := r.onDisk(), string(doc.Files[0].Content); got != want {
		r.t.Fatalf("on disk is\n%s\nwant\n%s", got, want)
	}
}

// wantTidy checks that there are no temporary files in the directory.
func (r *testEnv) wantTidy() {
	r.t.Helper()
	eventually(r.t, "the temporary files are gone", func() bool { // the state file may be being written
		entries, err := os.ReadDir(r.dir)
		check(r.t, err)
		return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") })
	})
}

// running returns the HAProxy that runs.
func (r *testEnv) running(s *Sink) process.Instance {
	r.t.Helper()
	now, err := s.controller.Find(r.t.Context())
	check(r.t, err)
	if now.None() {
		r.t.Fatal("no HAProxy runs")
	}
	return now
}

// problems returns the problems that Health reports, as one string.
func problems(t *testing.T, s *Sink) string {
	t.Helper()
	h, err := s.Health(t.Context())
	check(t, err)
	return strings.Join(h.Problems, "; ")
}

// wantHealthy asks again after an answer that took so long that it is about the machine, which is overloaded, and not about
// HAProxy.
func wantHealthy(t *testing.T, s *Sink) {
	t.Helper()
	eventually(t, "an answer in time", func() bool {
		began := time.Now()
		p := problems(t, s)
		if p != "" && time.Since(began) < healthTimeout/2 {
			t.Fatalf("unhealthy: %s", p)
		}
		return p == ""
	})
}

// wantError checks that err contains all of the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("error %q lacks %q", err, word)
		}
	}
}

// writeProgram writes a program. Nothing is started meanwhile: a process that has inherited the open file for a moment would keep
// the program from being run ("text file busy").
func writeProgram(t *testing.T, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	check(t, os.WriteFile(path, content, 0o700))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for cond, for as long as a busy machine may need.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for ticker := time.Tick(pollInterval); !cond(); {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-ticker:
		}
	}
}

// occupy listens on a port until free is called.
func occupy(t *testing.T) (port int, free func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port, func() { _ = listener.Close() }
}

// occupyPort listens on that port until free is called.
func (r *testEnv) occupyPort(port int) (free func()) {
	r.t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	check(r.t, err)
	r.t.Cleanup(func() { _ = listener.Close() })
	return func() { _ = listener.Close() }
}

// nextPort is below the range from which the system chooses ports for connections.
var nextPort atomic.Int64

func init() { nextPort.Store(int64(10000 + os.Getpid()*47%18000)) }

// freePort returns a port on which no process listens. It returns each port once.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := int(nextPort.Add(1))
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			check(t, listener.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// processesOn returns the processes whose command line mentions dir.
func processesOn(t *testing.T, dir string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	check(t, err)
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !procinfo.Exists(pid) {
			continue
		}
		args, err := procinfo.CommandLine(pid)
		if err == nil && slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, dir+"/") }) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func killAll(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "every HAProxy has ended", func() bool {
		pids := processesOn(t, dir)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	check(t, syscall.Kill(pid, syscall.SIGKILL))
}

// pidsIn returns the process ids in a pid file, and none where there is no file.
func pidsIn(path string) ([]int, error) {
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var pids []int
	for word := range strings.FieldsSeq(string(content)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// childrenOf returns the workers of a master.
func childrenOf(master int) []int {
	children, _ := procinfo.Children(master)
	return slices.DeleteFunc(children, func(pid int) bool { return procinfo.ProgramName(pid) != procinfo.ProgramName(master) })
}

// atLeast31 reports whether the tests run with HAProxy 3.1 or newer.
func (r *testEnv) atLeast31() bool {
	r.t.Helper()
	output, err := exec.Command(r.cfg.Binary, "-v").Output()
	check(r.t, err)
	_, version, _ := strings.Cut(string(output), "version ")
	major, minor := runtimeapi.ParseVersion(version)
	return major > 3 || major == 3 && minor >= 1
}

// reloadAfterFailure returns the action of a reload that follows a failed one.
func (r *testEnv) reloadAfterFailure() string {
	if r.atLeast31() {
		return sdk.ActionRestart
	}
	return sdk.ActionReload
}

// certificate returns a self-signed certificate with its key.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}
