package process

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// Shell runs a command line of the user's through bash, as haproxy-api 0.9 did.
func Shell(ctx context.Context, line string) (program.Outcome, error) {
	return program.Run(ctx, "bash", "-c", line)
}

// shellFunction returns a function for bash that passes the base file to the HAProxy which the user's command starts by its
// bare name, as haproxy-api 0.9 did, and makes it take over the listening sockets of one that it replaces.
func (c *Command) shellFunction(ctx context.Context, replaces bool) string {
	name := filepath.Base(c.cfg.Binary)
	if strings.ContainsFunc(name, func(r rune) bool { return !inFunctionName(r) }) {
		return ""
	}
	call := "command " + name + " -f " + shellQuote(c.cfg.BaseFile)
	if replaces && c.cfg.handsOverSockets(ctx, c.infos, c.log) { // HAProxy does not start without them
		call += " -x " + shellQuote(c.cfg.AdminSocket)
	}
	return fmt.Sprintf("function %s { %s \"$@\"; }\n", name, call)
}

// inFunctionName reports whether bash accepts r in the name of a function, of the characters that names of programs have.
func inFunctionName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// shellQuote quotes text as one word for bash.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
