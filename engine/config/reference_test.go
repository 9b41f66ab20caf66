package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

func TestReference_DescribesEveryKey(t *testing.T) {
	t.Parallel()
	keys := 0
	for _, table := range config.Reference() {
		if table.Path != "" && !strings.HasSuffix(table.Description, ".") {
			t.Errorf("the table %s has the description %q", table.Path, table.Description)
		}
		for _, key := range table.Keys {
			keys++
			if !strings.HasSuffix(key.Description, ".") {
				t.Errorf("%s has the description %q", key.Path, key.Description)
			}
			if key.Type == "" || len(key.Environment) == 0 {
				t.Errorf("%s has the type %q and the variables %q", key.Path, key.Type, key.Environment)
			}
		}
	}
	if keys < 50 {
		t.Errorf("the reference has %d keys", keys)
	}
}

// TestReference_NamesVariablesThatAreAccepted sets each variable to an invalid value or an unknown name and expects the key in
// the fault, or no fault where any value is valid.
func TestReference_NamesVariablesThatAreAccepted(t *testing.T) {
	t.Parallel()
	for _, table := range config.Reference() {
		for _, key := range table.Keys {
			for _, name := range key.Environment {
				_, err := config.Load(config.Options{Environ: []string{name + "=\x01 "}})
				if err != nil && strings.Contains(err.Error(), "is not a known") {
					t.Errorf("%s does not set %s: %v", name, key.Path, err)
				}
			}
		}
	}
}

func TestReference_Key(t *testing.T) {
	t.Parallel()
	for _, table := range config.Reference() {
		i := slices.IndexFunc(table.Keys, func(k config.KeyReference) bool { return k.Path == "haproxy_api.logging_level" })
		if i < 0 {
			continue
		}
		key := table.Keys[i]
		wantEnvironment := []string{"HAPROXY_API_HAPROXY_API__LOGGING_LEVEL", "HAPROXY_API_HAPROXY_API_LOGGING_LEVEL",
			"HAPROXY_API_LOGGING_LEVEL", "HAPROXYAPI_LOGGING_LEVEL"}
		if key.Type != "string" || key.Default != `"info"` || !slices.Equal(key.Environment, wantEnvironment) ||
			!slices.Equal(key.Flags, []string{"log-level"}) {
			t.Errorf("%+v", key)
		}
		return
	}
	t.Error("there is no haproxy_api.logging_level")
}
