package docs_test

import (
	"fmt"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

// A debian is the machine on which the commands of a document run in their order, as root. It runs systemd.
type debian struct {
	packages []string
	// setup provides what the machine has before it boots.
	setup func(t *testing.T, m *debiantest.Machine)
}

// installing is the machine of somebody who installs a release.
var installing = debian{
	packages: []string{"systemd", "systemd-sysv", "dbus", "haproxy", "ca-certificates", "curl"},
	setup:    provideRelease,
}

// machines has the machine of each document with commands for one.
var machines = map[string]debian{"README.md": installing, "docs/install.md": installing}

// run runs the blocks and returns the first fault.
func (d debian) run(t *testing.T, blocks []block) error {
	t.Helper()
	m := debiantest.New(t, d.packages...)
	if d.setup != nil {
		d.setup(t, m)
	}
	m.Boot(t)
	output := ""
	for _, b := range blocks {
		var err error
		switch {
		case b.file() != "":
			output, err = m.Run(t.Context(), b.writeScript())
		case b.language == "text":
			err = compareOutput(b.text, output)
		default:
			output, err = m.Run(t.Context(), b.text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", b.at(), err, output)
		}
	}
	return nil
}
