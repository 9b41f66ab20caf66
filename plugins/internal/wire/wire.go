// Package wire is what the daemon and its plugins agree on: the gRPC services of plugin.proto and the handshake before them.
//
// The generated files are committed; `go generate` makes them anew with a pinned buf.
package wire

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate

const (
	// ProtocolVersion is the version of plugin.proto that this code speaks. It grows when an older plugin could no longer
	// be understood; new messages and fields alone do not need it.
	ProtocolVersion = 1

	// CookieKey and CookieValue are an environment variable by which a plugin knows that haproxy-api started it and not a
	// person. They are no secret.
	CookieKey   = "HAPROXY_API_PLUGIN"
	CookieValue = "7c0f8a5e6f1d4b0e9b7d2c0a41f6e3d5"

	// MaxMessage bounds one message, in bytes: a document of 64 MiB and what surrounds it.
	MaxMessage = 80 << 20

	// KindSink and KindSource are the kinds of plugin, as Configure answers them.
	KindSink   = "sink"
	KindSource = "source"
)
