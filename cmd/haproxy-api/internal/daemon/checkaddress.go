package daemon

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
)

// probeTimeout bounds asking whether a daemon listens on an address.
const probeTimeout = 2 * time.Second

// checkAddress returns why the daemon could not listen at its address. It is no fault if a haproxy-api listens there, which is
// noted: it may be the daemon that runs with this configuration.
func (c *Checker) checkAddress(ctx context.Context) error {
	listener, err := Listen(ctx, c.cfg.API)
	if err == nil {
		return listener.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) && c.isHeldByDaemon(ctx) {
		c.note("a haproxy-api listens on " + listenAddress(c.cfg.API) + " already")
		return nil
	}
	return err
}

// isHeldByDaemon reports whether a haproxy-api listens at the address: one that answers as the configuration says, or a program
// of that name.
func (c *Checker) isHeldByDaemon(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if apiclient.New(c.cfg, nil).Unverified().Live(ctx) == nil {
		return true
	}
	_, program := holderOf(c.cfg.API)
	return program == "haproxy-api"
}
