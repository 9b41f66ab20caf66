package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A FollowConfig is the configuration of a [Follow]. The comment of Address is in docs/configuration.md.
type FollowConfig struct {
	// The Sidecar to follow: `HOST:PORT`, or a URL if it has a path before `/watch`, a password or TLS. It is required.
	Address string `json:"address"`

	// Subscriptions are the names of the services to use; none means all services.
	Subscriptions []string `json:"subscriptions"`

	// ResyncInterval is about how long a watch may be silent before the state is fetched, in case Sidecar is dead or a
	// change was lost.
	ResyncInterval time.Duration `json:"resync_interval"`
}

// FollowDefaults returns the default configuration. Address has no default.
func FollowDefaults() FollowConfig { return FollowConfig{ResyncInterval: time.Minute} }

// Validate returns all faults of c.
func (c FollowConfig) Validate() error {
	var faults []error
	if _, err := parsePeer(c.Address); err != nil {
		faults = append(faults, fmt.Errorf("address: %w", err))
	}
	if c.ResyncInterval <= 0 {
		faults = append(faults, fmt.Errorf("resync_interval: must be positive and is %v; the default is 1m",
			c.ResyncInterval))
	}
	return errors.Join(faults...)
}

// A Follow is a source that keeps a watch open at a Sidecar.
type Follow struct {
	name   string
	log    *slog.Logger
	config FollowConfig
	peer   peer
	client *http.Client
	fault  logdedup.Fault
}

// NewFollow returns a source that follows the Sidecar in config. The error joins all faults of config.
func NewFollow(env sdk.Env, config FollowConfig) (*Follow, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p, err := parsePeer(config.Address)
	if err != nil {
		return nil, err
	}
	return &Follow{name: env.Name, log: logOf(env), config: config, peer: p, client: newClient(nil)}, nil
}

// Health reports why the Sidecar cannot be followed.
func (f *Follow) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: healthProblems("following "+f.peer.String()+" failed", &f.fault)}, nil
}

// A peer contains the URLs of one Sidecar.
type peer struct {
	watches []*url.URL // in the order in which they are tried: older and newer Sidecars have different paths
	state   *url.URL
}

func parsePeer(address string) (peer, error) {
	if address == "" {
		return peer{}, errors.New("the Sidecar to follow is missing; set HOST:PORT")
	}
	short := !strings.Contains(address, "://")
	if short {
		address = "http://" + address
	}
	u, err := parseURL(address)
	if err != nil || short && u.Port() == "" {
		return peer{}, errors.New("the Sidecar to follow is neither HOST:PORT nor a URL")
	}
	base := *u
	base.RawQuery, base.Fragment = "", ""
	paths := []string{"watch", "api/watch"}
	if given, found := strings.CutSuffix(strings.TrimSuffix(u.Path, "/"), "/watch"); found {
		older, newer := strings.CutSuffix(given, "/api")
		if newer {
			paths = []string{"api/watch", "watch"}
		}
		base.Path, base.RawPath = older, ""
	}
	if base.Path == "" {
		base.Path = "/" // JoinPath needs a leading slash
	}
	p := peer{state: base.JoinPath("api/state.json")}
	for _, path := range paths {
		watch := base.JoinPath(path)
		watch.RawQuery = "by_service=false"
		p.watches = append(p.watches, watch)
	}
	return p, nil
}

func (p peer) String() string { return p.state.Host }
