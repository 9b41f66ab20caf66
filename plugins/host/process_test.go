package host

import (
	"slices"
	"testing"
)

func TestWithoutSecrets(t *testing.T) {
	others := []string{
		"PATH=/bin", "TOKEN=theirs", "NGINX_LICENSE=theirs",
		"HAPROXY_API_HAPROXY_CONFIGFILE=/etc/haproxy.cfg", // a reload_cmd may use it
		"HAPROXY_API_FOLLOW=side:7777",
		"HAPROXY_API_HAPROXY_API_UPDATE_TOKEN_FILE=/run/secrets/token", "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318",
	}
	ours := []string{
		"OTEL_EXPORTER_OTLP_HEADERS=s", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=s",
		"HAPROXY_API_HAPROXY_API_UPDATE_TOKEN=s", "HAPROXY_API_HAPROXY_API__UPDATE_TOKEN=s", "HAPROXY_API_SIDECAR_STATE_URL=s",
		"HAPROXY_API_PLUGINS__X__ENV__LICENSE=s", "HAPROXY_API_SINKS__EDGE__PASSWORD=s",
		"HAPROXY_API_SINKS__EDGE__API_KEY=s", "HAPROXY_API_FOLLOW=me:s@side:7777",
		"HAPROXY_API_SOURCES__B__ADDRESS=http://me:s@side:7777",
	}
	if got := withoutSecrets(slices.Concat(ours, others, ours)); !slices.Equal(got, others) {
		t.Errorf("got %q", got)
	}
}
