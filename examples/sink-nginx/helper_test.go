package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// TestMain is also the main function of the plugin: the tests start their own binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// nginxBinary returns the path of nginx, which Debian installs outside of the PATH of ordinary users.
func nginxBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("these tests need nginx: install the package nginx-light or nginx")
	return ""
}

// A testEnv is a directory with the configuration of an nginx that ends with the test, and a free address for it.
type testEnv struct {
	*testing.T
	cfg     config
	address string
}

func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	cfg := defaults()
	cfg.Binary = nginxBinary(t)
	cfg.ConfigFile = filepath.Join(t.TempDir(), "nginx.conf")
	cfg.CheckTimeout, cfg.ReloadTimeout = time.Minute, time.Minute
	cfg, err := cfg.withPaths()
	if err != nil {
		t.Fatal(err)
	}
	b := &testEnv{T: t, cfg: cfg, address: freeAddress(t)}
	t.Cleanup(b.endNginx)
	return b
}

// endNginx ends nginx and waits for its end, before the directory is removed.
func (b *testEnv) endNginx() {
	b.Helper()
	n := nginx{b.cfg}
	master := n.master()
	if master == 0 {
		return
	}
	if process, err := os.FindProcess(master); err == nil {
		_ = process.Signal(os.Interrupt)
	}
	eventually(b.T, "nginx ends", func() bool { return processTitle(master) == "" })
}

// sink returns a new sink, as after a start of the plugin.
func (b *testEnv) sink() *sink {
	b.Helper()
	opened, err := open(b.Context(), sdk.Env{Name: "web", Log: slog.New(slog.DiscardHandler)}, b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	return opened.(*sink)
}

// conf returns a main file whose server responds with answer. more is added to its http block.
func (b *testEnv) conf(answer, more string) string {
	return fmt.Sprintf(`worker_processes 2;
events { }
http {
	access_log off;
	client_body_temp_path temp-body;
	proxy_temp_path temp-proxy;
	fastcgi_temp_path temp-fastcgi;
	uwsgi_temp_path temp-uwsgi;
	scgi_temp_path temp-scgi;
	server {
		listen %s;
		location / { return 200 "%s"; }
		location /sick { return 503; }
	}
	%s
}
`, b.address, answer, more)
}

func document(main string, companions ...sdk.File) sdk.Document {
	files := append([]sdk.File{{Name: "main", Content: []byte(main)}}, companions...)
	return sdk.Document{Pipeline: "p", Generation: 1, Digest: sdk.DigestOf(files), Files: files}
}

// applied applies doc and expects that action.
func (b *testEnv) applied(s sdk.Sink, doc sdk.Document, action string) {
	b.Helper()
	result, err := s.Apply(b.Context(), doc)
	if err != nil {
		b.Fatalf("%v %q\n%s", err, result.Details, doc.Files[0].Content)
	}
	if result.Action != action || result.Reason == "" || result.Took <= 0 {
		b.Fatalf("got %+v, want the action %s", result, action)
	}
}

// answers expects nginx to answer every request with want, so that no worker of the previous configuration serves any.
func (b *testEnv) answers(want string) {
	b.Helper()
	for range 20 {
		if got := b.get("/"); got != want {
			b.Fatalf("nginx answers %q, want %q", got, want)
		}
	}
}

func (b *testEnv) get(path string) string {
	b.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + b.address + path)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

func (b *testEnv) live() string {
	b.Helper()
	content, err := os.ReadFile(b.cfg.ConfigFile)
	if err != nil && !os.IsNotExist(err) {
		b.Fatal(err)
	}
	return string(content)
}

// freeAddress returns an unused address on a loopback address that other tests are unlikely to use.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener := listen(t, fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	defer listener.Close()
	return listener.Addr().String()
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
