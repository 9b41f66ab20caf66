package main

import (
	"errors"
	"fmt"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// The configuration knows keys whose work is not done yet. Who sets one has to hear of it, and who relies on one for safety
// must not be left in the belief.
var (
	notYetSafe = []string{
		"haproxy_api.update_token", "haproxy_api.allow_from", "haproxy_api.tls_cert", "haproxy_api.tls_key",
		"haproxy_api.client_ca",
	}
	notYetUsed = []string{
		"haproxy_api.cors_origins",
	}
)

// unserved returns a warning for each key that somebody set to no effect, and an error for each whose lack is a danger.
func unserved(cfg *config.Config) (warnings []string, faults error) {
	set := map[string]string{}
	for _, v := range cfg.Values() {
		if v.Origin != "default" {
			set[v.Key] = v.Origin
		}
	}
	for _, key := range notYetSafe {
		if origin, ok := set[key]; ok {
			faults = errors.Join(faults, fmt.Errorf(
				"%s: %s is not enforced by this version: remove it, and let a firewall or proxy guard the port", origin, key))
		}
	}
	for _, key := range notYetUsed {
		if origin, ok := set[key]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: %s has no effect in this version", origin, key))
		}
	}
	return warnings, faults
}
