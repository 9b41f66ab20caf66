// Package sdk is the contract between haproxy-api and its plugins, and all that the author of one imports.
//
// A [Source] watches a service catalogue and emits a [Snapshot] after every change. The daemon renders it through a template
// into a [Document], and a [Sink] makes the document live and says how in a [Result].
//
// A plugin is a program of its own that the daemon starts, watches and restarts. Its main function is one call:
//
//	type config struct {
//		Path string `json:"path"`
//	}
//
//	func main() {
//		serve.Sink(sdk.Info{Name: "note", Version: "1.0"}, config{Path: "/tmp/note"}, open)
//	}
//
//	func open(_ context.Context, env sdk.Env, cfg config) (sdk.Sink, error) {
//		return &sink{path: cfg.Path, log: env.Log}, nil
//	}
//
// What the daemon asks beyond [Sink] and [Source] is optional: a type that is also a [Checker], a [Claimer] or a
// [Stopper] is used as one.
package sdk
