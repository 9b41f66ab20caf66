package docs_test

// daemon is a setup: haproxy-api runs with a Sidecar that has two services, and with HAProxy.
const daemon = `
mkdir -p /etc/haproxy-api /etc/haproxy /run/haproxy
cat >/etc/haproxy-api/haproxy-api.toml <<'END'
[haproxy_api]
bind_ip = "127.0.0.1"
[sidecar]
state_url = "http://localhost:7777/state.json"
[haproxy]
bind_ip     = "127.0.0.1"
config_file = "/etc/haproxy/haproxy.cfg"
pid_file    = "/run/haproxy/haproxy.pid"
END
simulated-sidecar &
haproxy-api -f /etc/haproxy-api/haproxy-api.toml &
until curl -fsS http://localhost:8080/ && curl -fsS http://localhost:7778/api/v1/pipelines/haproxy/generations/1; do
	sleep 0.05
done
`

// certificates is a setup for the example templates: the reader's own certificates.
const certificates = `
for name in web api; do
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name.example" -keyout - -out - \
		>"tls/$name.example.pem" 2>/dev/null
done
`

// localModule is a setup that makes go get use the module of this repository instead of the latest release.
const localModule = `
go() {
	if [ "$*" = "get github.com/haproxy-api/haproxy-api@latest" ]; then
		set -- mod edit -require=github.com/haproxy-api/haproxy-api@v0.0.0 \
			-replace=github.com/haproxy-api/haproxy-api="$REPOSITORY"
	fi
	command go "$@"
}
`

// retryingCurl is a setup in which curl repeats a request until it succeeds: a reader types more slowly than a script.
const retryingCurl = `
printf 'retry = 60\nretry-delay = 1\nretry-connrefused\nretry-all-errors\n' >>"$HOME/.curlrc"
`

// simulatedConsul is a setup with a stand-in for Consul, of which Debian has no package. It has what the document uses.
const simulatedConsul = retryingCurl + `
cat >/tmp/consul.js <<'END'
const services = {}, waiting = []
let index = 1
require("http").createServer(async (req, res) => {
	const url = new URL(req.url, "http://consul")
	const name = url.pathname.split("/").pop()
	const answer = value => {
		res.setHeader("X-Consul-Index", index)
		res.end(JSON.stringify(value))
	}
	if (req.method == "PUT") {
		let body = ""
		for await (const part of req) body += part
		if (name == "register") services[JSON.parse(body).Name] = JSON.parse(body)
		else delete services[name]
		index++
		waiting.splice(0).forEach(wake => wake())
		return answer(true)
	}
	if (url.searchParams.get("index") >= index) await new Promise(wake => waiting.push(wake))
	if (url.pathname == "/v1/catalog/services") return answer(Object.fromEntries(Object.keys(services).map(s => [s, []])))
	if (url.pathname == "/v1/status/leader") return answer("127.0.0.1:8300")
	const service = services[name] && {...services[name], ID: name, Service: name}
	answer(service ? [{Node: {Node: "here", Address: "127.0.0.1"}, Service: service, Checks: []}] : [])
}).listen(8500, "127.0.0.1")
END
consul() {
	[ "$*" = "agent -dev" ] && exec node /tmp/consul.js
}
`

// version09 is a setup for a migration: the configuration and the template of haproxy-api 0.9, its Sidecar, and the HAProxy that
// it started.
const version09 = `
mkdir -p /etc/haproxy-api /etc/haproxy /run/haproxy /run/trial
cat >/etc/haproxy-api/haproxy-api.toml <<'END'
[sidecar]
state_url = "http://localhost:7777/state.json"

[haproxy]
bind_ip     = "127.0.0.1"
template    = "/etc/haproxy-api/haproxy.tmpl"
config_file = "/etc/haproxy/haproxy.cfg"
pid_file    = "/run/haproxy/haproxy.pid"
END
cat >/etc/haproxy-api/haproxy.tmpl <<'END'
# Written by haproxy-api 0.9

global
	daemon

defaults
	mode    http
	timeout connect 5s
	timeout client  1m
	timeout server  1m

# The services

{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ sanitizeName $name }}-{{ $port }}
	bind {{ bindIP }}:{{ $port }}
	reqadd X-Service:\ {{ $name }}
	default_backend {{ sanitizeName $name }}-{{ $port }}

backend {{ sanitizeName $name }}-{{ $port }}
{{ range $instances }}	server {{ .Hostname }}-{{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}
END
simulated-sidecar &
until curl -fsS http://localhost:7777/state.json; do sleep 0.05; done
haproxy-api -f /etc/haproxy-api/haproxy-api.toml render --state http://localhost:7777/state.json |
	sed 's/reqadd.*//' >/etc/haproxy/haproxy.cfg
haproxy -f /etc/haproxy/haproxy.cfg -p /run/haproxy/haproxy.pid
`

// containerCommands is a setup with replacements for docker and kubectl, which a test machine does not have. They accept the
// commands of the document for files that exist, and run here what a command runs in a container. test/containers checks the
// files.
const containerCommands = daemon + `
docker() {
	case "$1 $2" in
	"build --build-arg") [ -f Dockerfile ] && [ "${*:3}" = "VERSION=$(scripts/version) --tag haproxy-api ." ] ;;
	"compose --project-directory") [ -f "$3/compose.yaml" ] && if [ "$4" = exec ]; then "${@:6}"; else [ "$4" = up ]; fi ;;
	*) false ;;
	esac
}
kubectl() {
	case "$1 $2" in
	"apply -k") [ -f "$3/kustomization.yaml" ] ;;
	"exec deployment/haproxy-api") "${@:4}" ;;
	*) false ;;
	esac
}
`

// sessions has the session of each document with commands.
var sessions = map[string]session{
	"CONTRIBUTING.md": {
		directory: ".",
	},
	"README.md": {
		directory: ".",
		ready:     "curl -fsSo /dev/null http://127.0.0.1:8080/",
	},
	"docs/api.md": {
		setup: daemon,
	},
	"docs/containers.md": {
		directory: ".",
		setup:     containerCommands,
	},
	"docs/evidence/README.md": {
		directory: ".",
	},
	"docs/migrating.md": {
		setup: version09,
		// The first haproxy-api of the document is on port 7779, the second one on 7778.
		ready: "port=7778; [ $(echo $running | wc -w) = 2 ] || port=7779; curl -fsSo /dev/null http://127.0.0.1:$port/ready",
	},
	"docs/operations.md": {
		setup: daemon,
	},
	"docs/plugin-authors.md": {
		setup: localModule,
	},
	"docs/templates.md": {
		directory: "examples/templates",
		setup:     certificates,
	},
	"examples/sink-nginx/README.md": {
		directory: "examples/sink-nginx",
	},
	"examples/sink-node/README.md": {
		directory: "examples/sink-node",
	},
	"examples/source-consul/README.md": {
		directory: "examples/source-consul",
		setup:     simulatedConsul,
	},
	"examples/source-etcd/README.md": {
		directory: "examples/source-etcd",
		setup:     retryingCurl,
	},
	"examples/templates/README.md": {
		directory: "examples/templates",
		ready:     "curl -fsSo /dev/null http://127.0.0.1:7799/ready",
	},
}
