package haproxy

import (
	"context"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// OldestTested is the oldest version of HAProxy that the tests run with.
const OldestTested = "2.6"

// Installed returns the path of a HAProxy program and its version, such as "2.6.12-1+deb12u1". The version is "" if the program
// does not report one.
func Installed(ctx context.Context, binary string) (path, version string, err error) {
	if path, err = process.FindBinary(binary); err != nil {
		return "", "", err
	}
	o, err := program.Run(ctx, path, "-v")
	if err != nil {
		return path, "", err
	}
	_, rest, _ := strings.Cut(o.Output, "version ")
	if words := strings.Fields(rest); len(words) > 0 {
		version = words[0]
	}
	return path, version, nil
}

// IsOlderThanTested reports whether a version is older than [OldestTested]. An unknown one is not.
func IsOlderThanTested(version string) bool {
	major, minor := runtimeapi.ParseVersion(version)
	oldestMajor, oldestMinor := runtimeapi.ParseVersion(OldestTested)
	return major > 0 && (major < oldestMajor || major == oldestMajor && minor < oldestMinor)
}

// CheckListening returns a rejection with the lines of the main file whose addresses other processes have, or which are not
// addresses of this machine. The HAProxy that runs with cfg may have them. It changes nothing.
func CheckListening(ctx context.Context, cfg Config, doc sdk.Document) error {
	s, err := New(sdk.Env{}, cfg)
	if err != nil {
		return err
	}
	files, err := s.paths.place(doc)
	if err != nil {
		return err
	}
	now, err := s.controller.Find(ctx)
	if err != nil || !s.controller.SharesNetwork(now) {
		return nil //nolint:nilerr // it is unknown which addresses HAProxy itself has
	}
	return s.paths.CheckBinds(ctx, now, files[0], nil)
}
