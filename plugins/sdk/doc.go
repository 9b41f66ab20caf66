// Package sdk is the contract between haproxy-api and its sources and sinks, whether they are built into the daemon or are
// plugins. It imports only the standard library, and knows neither the daemon nor how plugins are served.
//
// A [Source] watches a service registry and emits a [Snapshot] after every change. The daemon renders it through a template
// into a [Document], and a [Sink] applies the document and says how in a [Result].
//
// A plugin is a program of its own that the daemon starts, supervises and restarts. In Go, its main function is one call of
// package serve:
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
// Everything beyond [Source] and [Sink] is optional: the daemon uses a type that also is a [Reporter], [Checker], [Rereader],
// [Claimer], [Notifier], [EventReporter], [ServerReporter] or [Stopper] as one. A plugin declares that when it is configured.
package sdk
