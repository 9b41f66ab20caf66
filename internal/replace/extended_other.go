//go:build !linux

package replace

// copyExtended does nothing: other systems have other attributes.
func copyExtended(_, _ string) {}
