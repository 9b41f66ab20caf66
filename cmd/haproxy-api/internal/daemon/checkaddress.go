package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// probeTimeout bounds asking whether a daemon listens on an address.
const probeTimeout = 2 * time.Second

// checkAddress returns why the daemon could not listen at its address. It is no fault if a haproxy-api listens there, which is
// noted: it may be the daemon that runs with this configuration.
func (c *Checker) checkAddress(ctx context.Context) error {
	api := c.cfg.API
	listener, err := Listen(ctx, api)
	if err == nil {
		return listener.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) && (isDaemon(ctx, api) || strings.HasSuffix(holderOf(api), "(haproxy-api)")) {
		c.note("a haproxy-api listens on " + listenAddress(api) + " already")
		return nil
	}
	return err
}

// isDaemon reports whether what listens at the address answers as the daemon does.
func isDaemon(ctx context.Context, api config.API) bool {
	host := api.BindIP
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if api.TLSCert != "" {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	url := fmt.Sprintf("%s://%s/live", scheme, net.JoinHostPort(host, strconv.Itoa(api.BindPort)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{
		Proxy: nil, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing is sent to it
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return resp.StatusCode == http.StatusOK && strings.Contains(string(body), `"message":"alive"`)
}
