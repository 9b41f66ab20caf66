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

// TestMain is also the plugin: the tests start their own program as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// nginxBinary finds the real one. Debian puts it where the path of a common user does not lead.
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

// A bench is a folder with a configuration of an nginx that ends with the test, and a free address for it.
type bench struct {
	*testing.T
	cfg     config
	address string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cfg := defaults()
	cfg.Binary = nginxBinary(t)
	cfg.ConfigFile = filepath.Join(t.TempDir(), "nginx.conf")
	cfg.ReloadTimeout = 20 * time.Second
	cfg, err := cfg.settled()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, cfg: cfg, address: freeAddress(t)}
	t.Cleanup(b.endNginx)
	return b
}

// endNginx waits for the end, which must come before the folder is removed.
func (b *bench) endNginx() {
	b.Helper()
	n := nginx{b.cfg}
	master := n.master()
	if master == 0 {
		return
	}
	if process, err := os.FindProcess(master); err == nil {
		_ = process.Signal(os.Interrupt)
	}
	eventually(b.T, "nginx ends", func() bool { return title(master) == "" })
}

// sink returns a new sink as a plugin that is started would have it.
func (b *bench) sink() *sink {
	b.Helper()
	opened, err := open(b.Context(), sdk.Env{Name: "web", Log: slog.New(slog.DiscardHandler)}, b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	return opened.(*sink)
}

// conf is a main file whose server answers with answer. more goes into its http block.
func (b *bench) conf(answer, more string) string {
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

// applied offers doc and wants it in effect by that action.
func (b *bench) applied(s sdk.Sink, doc sdk.Document, action string) {
	b.Helper()
	result, err := s.Apply(b.Context(), doc)
	if err != nil {
		b.Fatalf("%v %q\n%s", err, result.Details, doc.Files[0].Content)
	}
	if result.Action != action || result.Reason == "" || result.Took <= 0 {
		b.Fatalf("got %+v, want the action %s", result, action)
	}
}

// answers wants nginx to answer every request with want: no worker of the generation before takes any.
func (b *bench) answers(want string) {
	b.Helper()
	for range 20 {
		if got := b.get("/"); got != want {
			b.Fatalf("nginx answers %q, want %q", got, want)
		}
	}
}

func (b *bench) get(path string) string {
	b.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
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

func (b *bench) live() string {
	b.Helper()
	content, err := os.ReadFile(b.cfg.ConfigFile)
	if err != nil && !os.IsNotExist(err) {
		b.Fatal(err)
	}
	return string(content)
}

// freeAddress returns one that nobody listens on, on a loopback address that other tests are unlikely to have.
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
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
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
