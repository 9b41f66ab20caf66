//go:build linux

package debian_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

const defaultConfig = "../../packaging/haproxy-api.toml"

func TestDefaultConfig(t *testing.T) {
	cfg, err := config.Load(config.Options{File: defaultConfig, Named: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("warnings: %q", cfg.Warnings)
	}
}

// TestDefaultConfig_Commented loads the configuration with all keys that are commented out.
func TestDefaultConfig_Commented(t *testing.T) {
	content, err := os.ReadFile(defaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "update_token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^# ([a-z_]+ *= )`)
	if n := len(commented.FindAllIndex(content, -1)); n != 5 {
		t.Errorf("%d keys are commented out", n)
	}
	all := commented.ReplaceAllString(string(content), "$1")
	all = strings.Replace(all, "/etc/haproxy-api/update_token", token, 1)
	file := filepath.Join(t.TempDir(), "haproxy-api.toml")
	if err := os.WriteFile(file, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Options{File: file, Named: true}); err != nil {
		t.Error(err)
	}
}
