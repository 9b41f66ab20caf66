package host

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestProtocolVersions(t *testing.T) {
	const current = wire.ProtocolVersion
	versions := func(numbers ...int) []string {
		var list []string
		for _, n := range numbers {
			list = append(list, strconv.Itoa(n))
		}
		return []string{"RAW_PLUGIN=nothing", rawVersions + "=" + strings.Join(list, ",")}
	}
	for name, test := range map[string]struct {
		env    []string // of the plugin
		host   int
		want   *VersionError // nil if they understand each other
		advice string
	}{
		"the same version":             {env: versions(current), host: current},
		"a plugin of several versions": {env: versions(current-1, current, current+1), host: current},
		"an old plugin on a new host": {
			versions(current - 1), current, &VersionError{current - 1, current}, "newer release of the plugin",
		},
		"a new plugin on an old host": {
			versions(current + 1), current, &VersionError{current + 1, current}, "upgrade haproxy-api",
		},
		"a plugin of this sdk on a newer host": {
			nil, current + 1, &VersionError{current, current + 1}, "newer release of the plugin",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := rawOptions(t, "nothing")
			options.Env, options.protocol, options.Block = test.env, test.host, sdk.Block{"directory": t.TempDir()}
			sink, err := StartSink(t.Context(), options)
			if err == nil {
				defer sink.Close()
			}
			got, _ := errors.AsType[*VersionError](err)
			if diff := cmp.Diff(test.want, got); diff != "" || test.want == nil && err != nil {
				t.Fatalf("(-want +got)\n%s%v", diff, err)
			}
			if test.want == nil {
				return
			}
			for _, part := range []string{
				"version " + strconv.Itoa(test.want.Plugin), "version " + strconv.Itoa(test.want.Host), test.advice, options.Path,
			} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not contain %q", err, part)
				}
			}
		})
	}
}

// ErrUnsupported survives, so that a check that was not made does not count as a check with a result.
func TestCheck_UnsupportedForThisDocument(t *testing.T) {
	sink, _, _ := startNotes(t, sdk.Block{"checks": true, "directory": t.TempDir()})
	err := sink.Check(t.Context(), document("unsupported"))
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
}

func TestSourceHealth(t *testing.T) {
	for kind, want := range map[string][]string{"source": nil, "reporting source": {"the registry is slow"}} {
		options, directory := echoOptions(t, kind)
		source, err := StartSource(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		put(t, filepath.Join(directory, "answer"), response{Health: sdk.Health{
			Problems: []string{"the registry is slow"}, Facts: map[string]string{"registry": "etcd"},
		}})
		health, err := source.Health(t.Context())
		if diff := cmp.Diff(want, health.Problems); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", kind, err, diff)
		}
		if _, ok := health.Facts["registry"]; ok != (want != nil) || health.Facts["plugin_pid"] == "" {
			t.Errorf("%s: facts %v", kind, health.Facts)
		}
	}
}

func TestStateDirReachesThePlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "plugins", "sink-edge")
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"directory": t.TempDir()}, StateDir: state, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if _, err := os.Stat(state); err == nil {
		t.Error("the directory exists although the plugin has not used it")
	}
	result, err := sink.Apply(t.Context(), document("keep state"))
	if err != nil || result.Reason != state {
		t.Errorf("got %q, %v; want %q", result.Reason, err, state)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info, err)
	}
}
