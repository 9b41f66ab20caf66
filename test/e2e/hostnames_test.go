package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Names that no name server knows exclude their instances, those that are not live yet, and nothing else.
func TestUnresolvedHostnamesExcludeTheirInstances(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", strings.ReplaceAll(weighing, `{{ ipFor $port . }}:{{ portFor $port . }} weight {{ .Version }}`,
		`{{ if eq .Version "7" }}{{ .ID }}.invalid{{ else }}{{ ipFor $port . }}{{ end }}:{{ portFor $port . }}`))
	good := s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	for i := range 4 {
		bad := good
		bad.Name = fmt.Sprintf("unknown-%d", i%2)
		bad.ID, bad.Hostname, bad.Image = fmt.Sprintf("n%d", i), fmt.Sprintf("host-%d", i), "web:7"
		bad.Ports = []sdk.Port{{Type: "tcp", Port: 80, ServicePort: int64(8004 + i%2), IP: "127.0.0.1"}}
		s.sidecar.Add(bad)
	}
	s.serve("mail", "m", 8003)
	s.answered(8003, "m")
	s.eventually("the API names them", func() bool { return len(s.leftOut()) == 4 })
	for _, left := range s.leftOut() {
		if !strings.HasPrefix(left.Service, "unknown-") {
			t.Errorf("%+v is excluded", left)
		}
	}
	s.answered(8000, "a")
	if !s.healthy() {
		t.Error("unhealthy")
	}
}
