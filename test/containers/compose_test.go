package containers_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose loads a Compose file as Docker Compose does, which refuses unknown keys.
func loadCompose(t *testing.T, name string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(repository, "examples/containers", name, "compose.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose_SettingsOfTheContainer(t *testing.T) {
	for name, service := range map[string]string{"sidecar": "haproxy-api", "gateway": "gateway"} {
		t.Run(name, func(t *testing.T) {
			s, err := loadCompose(t, name).GetService(service)
			if err != nil {
				t.Fatal(err)
			}
			if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged ||
				!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
				t.Errorf("not restricted: read_only %v, cap_drop %v, cap_add %v, security_opt %v",
					s.ReadOnly, s.CapDrop, s.CapAdd, s.SecurityOpt)
			}
			if s.Restart != types.RestartPolicyUnlessStopped {
				t.Errorf("restart %q", s.Restart)
			}
			if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 35*time.Second {
				t.Errorf("stop_grace_period %v is not longer than drain_timeout and the shutdown", s.StopGracePeriod)
			}
			if s.User != "" || len(s.Entrypoint) > 0 || s.HealthCheck != nil {
				t.Error("overrides the user, the entrypoint or the health check of the image")
			}
			context, err := filepath.Abs(repository)
			if err != nil || s.Build == nil || s.Build.Context != context {
				t.Errorf("build %+v, want the context %s: %v", s.Build, context, err)
			}
			for _, v := range s.Volumes {
				if v.Target == "/etc/haproxy-api" && (v.Type != types.VolumeTypeBind || !v.ReadOnly) {
					t.Errorf("configuration: %+v", v)
				}
			}
		})
	}
}

// Sidecar pushes to where haproxy-api listens, and shares its network.
func TestCompose_SidecarReachesHAProxyAPI(t *testing.T) {
	project := loadCompose(t, "sidecar")
	sidecar, err := project.GetService("sidecar")
	if err != nil {
		t.Fatal(err)
	}
	haproxy, err := project.GetService("haproxy-api")
	if err != nil {
		t.Fatal(err)
	}
	if sidecar.NetworkMode != "host" || haproxy.NetworkMode != "host" {
		t.Errorf("networks %q and %q", sidecar.NetworkMode, haproxy.NetworkMode)
	}
	if url := sidecar.Environment["LISTENERS_URLS"]; url == nil || *url != "http://127.0.0.1:7778/update" {
		t.Errorf("LISTENERS_URLS %v", url)
	}
	if len(sidecar.DependsOn)+len(haproxy.DependsOn) > 0 {
		t.Error("one depends on the other, so that Docker Compose replaces both")
	}
}
