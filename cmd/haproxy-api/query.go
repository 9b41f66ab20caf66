package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
)

// query calls get with the client. If the daemon's certificate cannot be verified, it prints a note and calls get with a client
// that sends no secret: the certificate file may have been replaced by one that the daemon cannot use, and its status is then
// especially useful.
func query[T any](cmd *cobra.Command, client apiclient.Client, get func(context.Context, apiclient.Client) (T, error)) (T, error) {
	answer, err := get(cmd.Context(), client)
	if !errors.Is(err, apiclient.ErrUntrusted) {
		return answer, err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "note: %v; what follows may be from another program\n", err)
	return get(cmd.Context(), client.Unverified())
}
