package process

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsHAProxyName(t *testing.T) {
	names := []string{"haproxy", "haproxy24", "haproxy-2.8", "haproxy_2.8.1", "hapee-2.8-lb", "lb", "haproxy-api",
		"haproxy_exporter", "haproxy-ingress", "tail", "vim", ""}
	names = slices.DeleteFunc(names, func(name string) bool { return isHAProxyName(name, []string{"lb"}) })
	want := []string{"haproxy-api", "haproxy_exporter", "haproxy-ingress", "tail", "vim", ""}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
