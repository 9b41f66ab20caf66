// Package wire is the protocol between the daemon and its plugins: the gRPC services of plugin.proto, the handshake before
// them, and the conversion of the types of package sdk to messages and back. It knows neither the host nor what serves a
// plugin.
//
// The generated files are committed; `go generate` generates them with a pinned buf.
package wire

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
//go:generate go test ../../../test/docs -run TestProtocolReference$ -update

const (
	// ProtocolVersion is the version of plugin.proto that this code speaks. It grows when a plugin of the version before
	// would be misunderstood; new messages, fields, enum values and calls with a capability do not need that. A host that
	// speaks several versions lists them in its VersionedPlugins.
	ProtocolVersion = 1

	// CookieKey and CookieValue are an environment variable by which a plugin recognises that haproxy-api started it, and not a
	// person. They are not secret.
	CookieKey   = "HAPROXY_API_PLUGIN"
	CookieValue = "7c0f8a5e6f1d4b0e9b7d2c0a41f6e3d5"

	// MaxMessage bounds one message, in bytes: a document of 64 MiB and what surrounds it.
	MaxMessage = 80 << 20
)

// Name returns the name of the kind in messages and in file names such as haproxy-api-sink-TYPE. It is also the name of the
// plugin in go-plugin's plugin set.
func (k Kind) Name() string {
	switch k {
	case Kind_KIND_SINK:
		return "sink"
	case Kind_KIND_SOURCE:
		return "source"
	default:
		return "plugin of an unknown kind"
	}
}
