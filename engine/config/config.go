// Package config finds out what haproxy-api is to do: it joins defaults, a file, the environment and flags, checks
// every key of them, and reports all that is wrong in one go.
//
// Each of the four places wins over the ones before it, key by key: tables are merged, lists and single values
// replaced. The part of a source or a sink stays raw, since only its owner knows its keys: see [Component].
//
// # Secrets
//
// The value of haproxy_api.update_token and of sidecar.state_url may stand in a file of its own, which the same key with
// _file after it names. The content counts without a newline at its end.
//
// # Environment
//
// These kinds of names are ours:
//
//   - The older haproxy-api's, such as HAPROXY_API_FOLLOW and HAPROXY_API_HAPROXY_BINDIP.
//   - HAPROXY_API_TABLE_KEY for each key of the tables haproxy_api, sidecar and haproxy; for those of haproxy_api also
//     HAPROXY_API_KEY.
//   - For any key its path in capitals, with "__" for the dots: HAPROXY_API_SINKS__EDGE__CONFIG_FILE. A part matches a
//     name in the file whatever its capitals, and with "_" for its dots and dashes; else it is taken in small letters.
//     These names are checked: one that leads to no key is a fault.
//
// If several are set for one key, the last kind here wins over the ones before. An empty variable counts as not set.
// Lists have commas between their items, or are JSON; tables are JSON.
//
// Any other name that begins with HAPROXY_API_ or HAPROXYAPI_ is a fault, since it may be meant to keep others out. Left alone
// is what Kubernetes and Docker make up where a service or a container is called haproxy-api: HAPROXY_API_SERVICE_HOST,
// HAPROXY_API_PORT_7778_TCP, HAPROXY_API_PORT=tcp://….
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// A Config is the effective configuration, checked and with all defaults filled in. It is read only.
type Config struct {
	API     API
	Sidecar Sidecar
	HAProxy HAProxy

	// The general form, in which the shorthand of Sidecar and HAProxy is already expanded; see [Load].
	Sources   map[string]Source
	Sinks     map[string]Component
	Plugins   map[string]Plugin // by type
	PluginDir string            // where plugins are looked for that Plugins does not name
	Pipelines map[string]Pipeline

	// Warnings are sentences about things that were left alone and are probably not meant so.
	Warnings []string

	values []Value
}

// API is the table haproxy_api: the daemon's own HTTP surface and logging.
type API struct {
	BindIP          string
	BindPort        int // 0 lets the system choose a free one
	LoggingLevel    slog.Level
	LoggingFormat   string // "text" or "json"
	StateDir        string // "" keeps nothing
	UpdateToken     string // "" asks for none
	UpdateTokenFile string // where UpdateToken was read from; "" if it was given itself
	AllowFrom       []netip.Prefix
	TLSCert         string // set together with TLSKey, or not at all
	TLSKey          string
	ClientCA        string // set only where TLSCert is
	MaxBody         int64  // bytes, at least 1
	CORSOrigins     []string
	ProtectReads    bool // only with UpdateToken or ClientCA
	AllowedHosts    []string
}

// Sidecar is the table sidecar: where the state comes from, and how far it is believed.
type Sidecar struct {
	StateURL       string // "" where there is none to ask
	StateURLFile   string // where StateURL was read from; "" if it was given itself
	Follow         string // host:port; "" waits for pushes
	ResyncInterval time.Duration
	RedirectHosts  []string // hosts that StateURL may redirect to, beside its own
	Subscriptions  []string // names of services; empty means all
	Guard          Guard
}

// HAProxy is the table haproxy: the proxy to keep, and what its template is told.
type HAProxy struct {
	BindIP         string
	Template       string // "" is the built-in one
	ConfigFile     string
	PIDFile        string
	ReloadCmd      string
	VerifyCmd      string
	User           string
	Group          string
	UseHostnames   bool
	Binary         string
	Mode           string // "managed" or "command"; where nobody says, "command" if ReloadCmd is set
	ReloadInterval time.Duration
	DrainTimeout   time.Duration
	MaxOldWorkers  int    // 0 for any number
	OnExit         string // "leave" or "stop"
	Runtime        bool
	Watch          []string // see Pipeline
}

// A Source is where a catalogue comes from, and how far it is believed.
type Source struct {
	Component
	Guard Guard
}

// Guard is the same three keys of every source, whatever its type. They are not in its block.
type Guard struct {
	MaxDrop      float64 // share of the live instances, from 0 to 1
	MinInstances int
	Hold         time.Duration // 0 turns the guard off
}

// A Component is one source or one sink. Its block is what the configuration says beside the type, unchecked: strings,
// bool, int64, float64, []any and map[string]any. What environment and --set give for a block stays a string, unless it
// begins as a JSON list or object does.
type Component struct {
	Type  string
	Block map[string]any
}

// A Plugin says how to start the plugin of one type.
type Plugin struct {
	Path   string // "" means that it has to be found
	SHA256 string // 64 hexadecimal digits, or "" for no check
	Args   []string
	Env    map[string]string
}

// A Pipeline joins one template set to its source and its sink. Paths are as the person wrote them: relative ones are
// relative to the working directory.
type Pipeline struct {
	Source   string            // a key of [Config.Sources]
	Sink     string            // a key of [Config.Sinks], and of no other pipeline
	Template string            // "" is the built-in one
	Files    map[string]string // templates of companion files, by the companion's name
	Partials []string          // glob patterns
	Watch    []string          // glob patterns of files that the sink's program reads beside the document
	Delims   []string          // always two
	Vars     map[string]any    // int64 and float64 as the file told them apart

	// What the template is told. Without a value of their own, the ones of the table haproxy.
	BindIP       string
	UseHostnames bool
	User         string
	Group        string
}
