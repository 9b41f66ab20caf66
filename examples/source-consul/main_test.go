package main

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestConfigFaults(t *testing.T) {
	for _, test := range []struct {
		block sdk.Block
		want  []string
	}{
		{sdk.Block{"services": []any{"web", "", "web"}}, []string{"services[1] is empty", `services[2] repeats "web"`}},
		{
			sdk.Block{"cert_file": "client.pem", "timeout": "0s"},
			[]string{"cert_file and key_file must be set together", "timeout is 0s: it must be positive"},
		},
	} {
		cfg := defaults()
		err := sdk.Decode(test.block, &cfg)
		if err == nil {
			t.Fatalf("%v was accepted", test.block)
		}
		if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	cfg := defaults()
	cfg.Address = "ftp://127.0.0.1:8500"
	if _, err := open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}, cfg); err == nil {
		t.Error("the address was accepted")
	}
}

func TestOpen_Environment(t *testing.T) {
	c := startConsul(t)
	tokens := make(chan string, 100)
	c.setFault(func(w http.ResponseWriter, r *http.Request) {
		select {
		case tokens <- r.Header.Get("X-Consul-Token"):
		default:
		}
		w.WriteHeader(http.StatusForbidden)
	})
	t.Setenv("CONSUL_HTTP_ADDR", c.address)
	t.Setenv("CONSUL_HTTP_TOKEN", "of-the-environment")
	for token, want := range map[string]string{"": "of-the-environment", "of-the-block": "of-the-block"} {
		cfg := defaults()
		cfg.Token = token
		opened, err := open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := opened.(*source)
		if _, _, err := s.client.Catalog().Services(nil); err == nil {
			t.Error("the fault was to answer")
		}
		s.closeIdle()
		if got := <-tokens; got != want {
			t.Errorf("with the token %q in the block, Consul got %q", token, got)
		}
	}
}
