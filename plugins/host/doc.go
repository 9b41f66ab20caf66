// Package host runs plugins: it starts a program, shakes hands, hands it its configuration, watches it, and starts it again
// when it dies. To the engine a plugin is a sink or a source like any other.
package host
