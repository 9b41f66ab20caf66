package config_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// Of the places that set a key, the one with the highest precedence wins and is the origin. Each key is independent of the
// others.
func TestLoad_Precedence(t *testing.T) {
	type key struct{ path, older, plain, flag string }
	keys := []key{
		{"haproxy_api.logging_level", "HAPROXYAPI_LOGGING_LEVEL", "HAPROXY_API_HAPROXY_API_LOGGING_LEVEL", "log-level"},
		{"sidecar.follow", "HAPROXY_API_FOLLOW", "HAPROXY_API_SIDECAR_FOLLOW", "follow"},
		{"haproxy.pid_file", "HAPROXY_API_HAPROXY_PIDFILE", "HAPROXY_API_HAPROXY_PID_FILE", ""},
		{"sinks.k.path", "", "", ""},
		{"pipelines.p.vars.v", "", "", ""},
	}
	values := map[string][]string{
		"haproxy_api.logging_level": {"debug", "info", "warn", "error", "trace", "fatal"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		content := "sinks.k.type='file'\nsources.s.type='file'\npipelines.p.source='s'\npipelines.p.sink='k'\n"
		var environ, set, args []string
		wants, origins := map[string]string{}, map[string]string{}
		for _, k := range keys {
			next := 0
			win := func(origin string) string {
				v := fmt.Sprintf("host:%d", next+1)
				if choices := values[k.path]; choices != nil {
					v = choices[next]
				}
				next++
				wants[k.path], origins[k.path] = fmt.Sprintf("%q", v), origin
				return v
			}
			chosen := func(name string) bool { return name != "" && random.IntN(2) == 0 }
			general := "HAPROXY_API_" + strings.ToUpper(strings.ReplaceAll(k.path, ".", "__"))
			if chosen(k.path) {
				content += fmt.Sprintf("%s = %q\n", k.path, win("haproxy-api.toml"))
			}
			for _, name := range []string{k.older, k.plain, general} {
				if chosen(name) {
					environ = append(environ, name+"="+win("environment "+name))
				}
			}
			if chosen(k.path) {
				set = append(set, k.path+"="+win("flag --set"))
			}
			if chosen(k.flag) {
				args = append(args, "--"+k.flag, win("flag --"+k.flag))
			}
		}
		random.Shuffle(len(environ), func(i, j int) { environ[i], environ[j] = environ[j], environ[i] })
		c := load(t, config.Options{
			File: write(t, "haproxy-api.toml", content), Environ: environ, Set: set, Flags: flags(t, args...),
		})
		for path, want := range wants {
			if got, origin := value(t, c, path); got != want || !strings.HasSuffix(origin, origins[path]) {
				t.Fatalf("%s = %s from %s, not %s from %s\nenvironment %q\n--set %q\nflags %q\n%s",
					path, got, origin, want, origins[path], environ, set, args, content)
			}
		}
	}
}
