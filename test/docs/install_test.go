package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

// installed is the version whose files docs/install.md names.
const installed = "1.0.0-rc.1"

// buildRelease builds the files of a release once, and returns their directory.
var buildRelease = sync.OnceValues(func() (string, error) {
	dist := filepath.Join(programs, "dist")
	cmd := exec.Command("scripts/dist", dist, "linux/amd64")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "VERSION="+installed)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dist, nil
})

// provideRelease provides the files of a release in the directory in which the commands run, and a Sidecar with services at
// localhost:7777, which is also sidecar.example:7777.
func provideRelease(t *testing.T, m *debiantest.Machine) {
	t.Helper()
	dist, err := buildRelease()
	if err != nil {
		t.Fatal(err)
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
