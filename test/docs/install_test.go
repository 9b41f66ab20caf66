package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

// installed is the version whose files docs/install.md names.
const installed = "1.0.0-rc.1"

// provideRelease provides the files of a release in the directory in which the commands run, and a Sidecar with services at
// localhost:7777, which is also sidecar.example:7777.
func provideRelease(t *testing.T, m *debiantest.Machine) {
	t.Helper()
	dist := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "scripts/dist", dist, "linux/amd64")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "VERSION="+installed)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		m.Copy(t, filepath.Join(dist, file.Name()), file.Name())
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.Copy(t, own, "usr/local/bin/"+simulator)
	m.MustRun(t, `echo '127.0.0.1 sidecar.example' >>/etc/hosts
cat >/etc/systemd/system/sidecar.service <<'END'
[Service]
ExecStart=/usr/local/bin/`+simulator+`
[Install]
WantedBy=multi-user.target
END
systemctl enable sidecar.service`)
}
