// Package engine renders the snapshots of sources through templates into documents, has sinks apply them, and retries until the
// sinks are in sync. It knows no concrete source, template language, sink or transport.
//
// Each pipeline runs in a goroutine of its own, so that a slow sink does not delay others. The newest snapshot wins, unchanged
// documents stop early, failures are retried, and the last applied document stays applied whatever fails.
package engine
