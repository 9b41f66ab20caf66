// Package config loads the configuration of haproxy-api: it merges defaults, a file, the environment and flags, validates every
// key, and reports all faults at once. It knows no source, sink or plugin.
//
// Later places take precedence over earlier ones for each key: tables are merged; lists and single values are replaced. The block
// of a source or a sink is not validated, because only its owner knows its keys: see [Component].
//
// # Secrets
//
// The values of haproxy_api.update_token and sidecar.state_url may be in files of their own, which the same keys with _file
// appended name. A newline at the end of the file is ignored.
//
// # Environment
//
// These environment variables set keys:
//
//   - Those of haproxy-api 0.9, such as HAPROXY_API_FOLLOW and HAPROXY_API_HAPROXY_BINDIP.
//   - HAPROXY_API_TABLE_KEY for each key of the tables haproxy_api, sidecar, haproxy and tracing; for those of haproxy_api also
//     HAPROXY_API_KEY.
//   - For any key its path in capitals, with "__" for the dots: HAPROXY_API_SINKS__EDGE__CONFIG_FILE. A part matches a name in
//     the file regardless of case, and with "_" for its dots and dashes; otherwise it is converted to lower case. A path that
//     leads to no key is a fault.
//
// If several set the same key, the last kind in this list takes precedence. An empty variable is ignored. Lists are separated by
// commas or are JSON; tables are JSON.
//
// Any other variable that begins with HAPROXY_API_ or HAPROXYAPI_ is a fault, because the user may rely on it to restrict access.
// Exempt are those that Kubernetes and Docker set where a service or a container is named haproxy-api: HAPROXY_API_SERVICE_HOST,
// HAPROXY_API_PORT_7778_TCP, HAPROXY_API_PORT=tcp://….
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// A Config is the effective configuration, validated and with all defaults. It must not be modified.
type Config struct {
	API     API
	Sidecar Sidecar
	HAProxy HAProxy
	Tracing Tracing

	// The general form, including what the shorthand of Sidecar and HAProxy defines; see [Load].
	Sources   map[string]Source
	Sinks     map[string]Component
	Plugins   map[string]Plugin // by type
	PluginDir string            // where plugins without a path are searched
	Pipelines map[string]Pipeline

	// Warnings describe parts of the configuration that have no effect or are probably not intended.
	Warnings []string

	values []Value
}

// API is the table haproxy_api: the daemon's own HTTP surface and logging.
type API struct {
	BindIP          string
	BindPort        int // 0 for any free port
	LoggingLevel    slog.Level
	LoggingFormat   string // "text" or "json"
	StateDir        string // "" disables the state store
	UpdateToken     string // "" requires none
	UpdateTokenFile string // the file of UpdateToken; "" if it was set directly
	AllowFrom       []netip.Prefix
	TLSCert         string // set if and only if TLSKey is
	TLSKey          string
	ClientCA        string // set only if TLSCert is
	MaxBody         int64  // bytes, at least 1
	CORSOrigins     []string
	ProtectReads    bool // set only if UpdateToken or ClientCA is
	AllowedHosts    []string
}

// Sidecar is the table sidecar: where the state comes from, and the guard against states that shrink too much.
type Sidecar struct {
	StateURL       string // "" for none
	StateURLFile   string // the file of StateURL; "" if it was set directly
	Follow         string // host:port; "" to wait for pushes
	ResyncInterval time.Duration
	RedirectHosts  []string // hosts that StateURL may redirect to, in addition to its own
	Subscriptions  []string // names of services; empty for all
	Guard          Guard
}

// HAProxy is the table haproxy: the HAProxy to manage, and its template.
type HAProxy struct {
	BindIP         string
	Template       string // "" for the built-in template
	ConfigFile     string
	PIDFile        string
	ReloadCmd      string
	VerifyCmd      string
	User           string
	Group          string
	UseHostnames   bool
	Binary         string
	Mode           string // "managed" or "command"; by default "command" if ReloadCmd is set
	ReloadInterval time.Duration
	DrainTimeout   time.Duration
	MaxOldWorkers  int    // 0 for any number
	OnExit         string // "leave" or "stop"
	Runtime        bool
	Watch          []string // see Pipeline.Watch
}

// Tracing is the table tracing: whether and where traces of changes are sent.
type Tracing struct {
	Enabled  bool
	Endpoint string  // the URL of an OTLP receiver; "" for the one in OpenTelemetry's environment variables
	Sample   float64 // the fraction of the changes that are traced, from 0 to 1
}

// A Source is a component that emits snapshots, and the guard against snapshots that shrink too much.
type Source struct {
	Component
	Guard Guard
}

// Guard has the three keys that every source has, whatever its type. They are not part of its block.
type Guard struct {
	MaxDrop      float64 // fraction of the live instances, from 0 to 1
	MinInstances int
	Hold         time.Duration // 0 disables the guard
}

// A Component is one source or one sink. Its block has its keys other than the type, not validated: string, bool, int64, float64,
// []any and map[string]any. A value from the environment or --set is a string, unless it begins like a JSON list or object.
type Component struct {
	Type  string
	Block map[string]any
}

// A Plugin describes how to start the plugin of one type.
type Plugin struct {
	Path   string // "" to search for it
	SHA256 string // 64 hexadecimal digits, or "" to skip the verification
	Args   []string
	Env    map[string]string
}

// A Pipeline connects one template set to its source and its sink. Its paths are resolved: see [Load].
type Pipeline struct {
	Source   string            // a key of [Config.Sources]
	Sink     string            // a key of [Config.Sinks], and of no other pipeline
	Template string            // "" for the built-in template
	Files    map[string]string // templates of companion files, by the name of the companion file
	Partials []string          // glob patterns
	Watch    []string          // glob patterns of files that the sink's program reads in addition to the document
	Delims   []string          // always two
	Vars     map[string]any    // with int64 and float64 as in the file

	// Parameters of the template. The defaults are the values of the table haproxy.
	BindIP       string
	UseHostnames bool
	User         string
	Group        string
}
