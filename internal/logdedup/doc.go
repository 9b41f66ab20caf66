// Package logdedup keeps repeated log lines from filling the log. A [Fault] logs an error that lasts when it begins, when it
// changes and when it is over; a [Handler] drops repeated records of any logger; a [Counter] counts events by key for other
// log lines that anyone can cause. The package knows nothing about what is logged.
package logdedup
