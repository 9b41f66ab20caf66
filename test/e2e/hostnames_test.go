package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Names that no name server knows exclude their instances, those that are not live yet, and nothing else.
func TestExclusion_UnresolvedHostnames(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", strings.ReplaceAll(weightTemplate, `{{ ipFor $port . }}:{{ portFor $port . }} weight {{ .Version }}`,
		`{{ if eq .Version "7" }}{{ .ID }}.invalid{{ else }}{{ ipFor $port . }}{{ end }}:{{ portFor $port . }}`))
	good := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	for i := range 4 {
		bad := good
		bad.Name = fmt.Sprintf("unknown-%d", i%2)
		bad.ID, bad.Hostname, bad.Image = fmt.Sprintf("n%d", i), fmt.Sprintf("host-%d", i), "web:7"
		bad.Ports = []sdk.Port{{Type: "tcp", Port: 80, ServicePort: int64(8004 + i%2), IP: "127.0.0.1"}}
		env.sidecar.Add(bad)
	}
	env.startInstance("mail", "m", 8003)
	env.waitAnswer(8003, "m")
	env.eventually("the API names them", func() bool { return len(env.exclusions()) == 4 })
	for _, left := range env.exclusions() {
		if !strings.HasPrefix(left.Service, "unknown-") {
			t.Errorf("%+v is excluded", left)
		}
	}
	env.waitAnswer(8000, "a")
	if !env.healthy() {
		t.Error("unhealthy")
	}
}
