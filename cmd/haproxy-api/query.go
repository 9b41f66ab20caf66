package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/engine"
)

// query calls get with the client. If the daemon's certificate cannot be verified, it calls get with a client that sends no
// secret, and returns a note: the certificate file may have been replaced by one that the daemon cannot use, and its answer is
// then especially useful.
func query[T any](ctx context.Context, client apiclient.Client, get func(context.Context, apiclient.Client) (T, error)) (
	answer T, note string, err error,
) {
	answer, err = get(ctx, client)
	if !errors.Is(err, apiclient.ErrUntrusted) {
		return answer, "", err
	}
	untrusted := err
	if answer, err = get(ctx, client.Unverified()); err != nil {
		return answer, "", fmt.Errorf("%w; without the token, %w", untrusted, err)
	}
	return answer, untrusted.Error() + "; this may be from another program", nil
}

// queryWithNote is [query] for a command that prints the note on standard error.
func queryWithNote[T any](cmd *cobra.Command, client apiclient.Client, get func(context.Context, apiclient.Client) (T, error)) (
	T, error,
) {
	answer, note, err := query(cmd.Context(), client, get)
	if note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", engine.OneLine(note))
	}
	return answer, err
}
