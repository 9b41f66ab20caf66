// Package engine renders the snapshots of sources through templates into documents, passes them to sinks, and retries until the
// sinks are in sync. It knows no concrete source, template language, sink or transport.
//
// Each pipeline runs in a goroutine of its own, so that a slow sink does not delay others. Only the newest snapshot is
// rendered, unchanged documents are not applied again, failures are retried, and the last applied document stays applied after
// any failure.
package engine
