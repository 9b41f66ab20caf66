// Package engine is the core: it carries what sources know through templates into sinks and keeps trying until it is so. It
// knows no concrete source, template language or sink.
//
// Each pipeline runs in a goroutine of its own, so that a slow sink delays nobody else. The newest snapshot wins, documents
// that did not change stop early, failures are tried again, and the last good document stays in force whatever happens.
package engine
