package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

const general = `
[sources.s]
type = "file"
[sinks.k]
type = "file"
[pipelines.web]
source = "s"
sink = "k"
`

func TestWatch(t *testing.T) {
	o, _ := inFile(t, general+"watch = ['/certs/*.pem']\n[haproxy]\nwatch = ['/maps']\n")
	o.Environ = []string{"HAPROXY_API_PIPELINES__WEB__WATCH=/a,/b"}
	c := load(t, o)
	if got := c.Pipelines["haproxy"].Watch; !slices.Equal(got, []string{"/maps"}) {
		t.Errorf("the table haproxy watches %q", got)
	}
	if got := c.Pipelines["web"].Watch; !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("the pipeline watches %q", got)
	}
}

func TestShorthand(t *testing.T) {
	ownNames := strings.NewReplacer("sinks.k", "sinks.haproxy", `"k"`, `"haproxy"`, "pipelines.web", "pipelines.haproxy",
		"sources.s", "sources.sidecar", `"s"`, `"sidecar"`).Replace(general)
	for name, test := range map[string]struct {
		content string
		environ []string
		args    []string
		want    string // sources / sinks / pipelines
	}{
		"nothing":       {want: "sidecar:sidecar-push / haproxy:haproxy / haproxy"},
		"follow":        {content: "sidecar.follow='a:1'", want: "sidecar:sidecar-follow / haproxy:haproxy / haproxy"},
		"general only":  {content: general, want: "s:file / k:file / web"},
		"the same name": {content: ownNames, want: "sidecar:file / haproxy:file / haproxy"},
		"haproxy in file": {
			content: general + "[haproxy]\nruntime=false",
			want:    "s:file sidecar:sidecar-push / haproxy:haproxy k:file / haproxy web",
		},
		"haproxy in environment": {
			content: general, environ: []string{"HAPROXY_API_HAPROXY_USER=me"},
			want: "s:file sidecar:sidecar-push / haproxy:haproxy k:file / haproxy web",
		},
		"haproxy by flag": {
			content: general, args: []string{"--set", "haproxy.user=me"},
			want: "s:file sidecar:sidecar-push / haproxy:haproxy k:file / haproxy web",
		},
		"sidecar and general": {
			content: general, args: []string{"-F", "a:1"}, want: "s:file sidecar:sidecar-follow / k:file / web",
		},
		"no pipeline": {
			content: "[sources.s]\ntype='file'\n", want: "s:file sidecar:sidecar-push / haproxy:haproxy / haproxy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := inFile(t, test.content)
			o.Environ, o.Flags = test.environ, flags(t, test.args...)
			o.Set, _ = o.Flags.GetStringArray("set")
			c := load(t, o)
			sources := map[string]config.Component{}
			for name, source := range c.Sources {
				sources[name] = source.Component
			}
			got := types(sources) + " / " + types(c.Sinks) + " / " +
				strings.Join(slices.Sorted(maps.Keys(c.Pipelines)), " ")
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func types(components map[string]config.Component) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(components)) {
		all = append(all, name+":"+components[name].Type)
	}
	return strings.Join(all, " ")
}

func TestShorthand_Follow(t *testing.T) {
	c := load(t, config.Options{Flags: flags(t, "-F", "sidecar:7777")})
	block := c.Sources["sidecar"].Block
	want := []string{"address", "resync_interval", "subscriptions"}
	if got := slices.Sorted(maps.Keys(block)); !slices.Equal(got, want) {
		t.Errorf("keys of the block: %v", got)
	}
	if block["address"] != "sidecar:7777" {
		t.Errorf("address is %v", block["address"])
	}
}

func TestPipelines_InheritFromHAProxy(t *testing.T) {
	o, _ := inFile(t, strings.Replace(general, "[pipelines.web]", `
[sinks.two]
type = "file"
[pipelines.two]
source = "s"
sink = "two"
bind_ip = "127.0.0.2"
use_hostnames = false
user = ""
group = "own"
[pipelines.web]`, 1))
	o.Set = []string{"haproxy.bind_ip=10.0.0.1", "haproxy.use_hostnames=true", "haproxy.user=me", "haproxy.group=us"}
	c := load(t, o)
	web, two, short := c.Pipelines["web"], c.Pipelines["two"], c.Pipelines["haproxy"]
	for name, p := range map[string]config.Pipeline{"web": web, "haproxy": short} {
		if p.BindIP != "10.0.0.1" || !p.UseHostnames || p.User != "me" || p.Group != "us" {
			t.Errorf("%s does not inherit: %+v", name, p)
		}
	}
	if two.BindIP != "127.0.0.2" || two.UseHostnames || two.User != "" || two.Group != "own" {
		t.Errorf("two does not keep its own values: %+v", two)
	}
}

func TestShorthand_Mode(t *testing.T) {
	for name, test := range map[string]struct {
		set  []string
		want string
	}{
		"no setting":              {want: "managed"},
		"reload command":          {set: []string{"haproxy.reload_cmd=reload"}, want: "command"},
		"no reload command":       {set: []string{"haproxy.reload_cmd="}, want: "managed"},
		"verify command":          {set: []string{"haproxy.verify_cmd=verify"}, want: "managed"},
		"mode set":                {set: []string{"haproxy.mode=command"}, want: "command"},
		"mode and reload command": {set: []string{"haproxy.reload_cmd=reload", "haproxy.mode=managed"}, want: "managed"},
	} {
		c := load(t, config.Options{Set: test.set})
		if c.HAProxy.Mode != test.want || c.Sinks["haproxy"].Block["mode"] != test.want {
			t.Errorf("%s: mode is %s, in the block %v", name, c.HAProxy.Mode, c.Sinks["haproxy"].Block["mode"])
		}
	}
}

func TestWarnings_UnusedComponents(t *testing.T) {
	o, _ := inFile(t, general+"[sources.idle]\ntype='file'\n[sinks.idle]\ntype='file'\n")
	want := []string{"sources.idle is not used by any pipeline", "sinks.idle is not used by any pipeline"}
	if got := load(t, o).Warnings; !slices.Equal(got, want) {
		t.Errorf("warnings: %q", got)
	}
	if got := load(t, config.Options{}).Warnings; len(got) != 0 {
		t.Errorf("unexpected warnings: %q", got)
	}
}
