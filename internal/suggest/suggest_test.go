package suggest_test

import (
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
)

func TestNearest(t *testing.T) {
	for _, test := range []struct {
		name       string
		candidates []string
		want       string
		similar    bool
	}{
		{"getport", []string{"getMode", "getPorts"}, "getPorts", true},
		{"GETPORTS", []string{"getMode", "getPorts"}, "getPorts", true},
		{"conf", []string{"configuration", "cone"}, "cone", true},
		{"config", []string{"configuration", "colour"}, "configuration", true},
		{"confg", []string{"color", "config-file"}, "config-file", true},
		{"cofnig", []string{"color", "config-file"}, "config-file", true},
		{"confg_file", []string{"color", "config-file-name"}, "config-file-name", true},
		{"api_port", []string{"api_user_name", "api_bind_port"}, "api_bind_port", false},
		{"lo", []string{"log-level"}, "log-level", false},
		{"mode", []string{"demo", "user"}, "demo", true},
		{"nonsense", []string{"template", "user"}, "user", false},
		{"config-file", []string{"config_file"}, "config_file", true},
		{"x", []string{"b", "a"}, "a", true},
		{"x", nil, "", false},
	} {
		got, similar := suggest.Nearest(test.name, test.candidates)
		if got != test.want || similar != test.similar {
			t.Errorf("Nearest(%q, %q) = %q, %v; want %q, %v", test.name, test.candidates, got, similar, test.want, test.similar)
		}
	}
}
