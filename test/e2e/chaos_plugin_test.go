package e2e_test

import (
	"maps"
	"os"
	"syscall"
)

func init() { maps.Copy(chaosFaults, pluginFaults) }

// pluginFaults make the plugin hang in a call until the fault is over, even if the context of the call is cancelled. For faults
// of the start, the plugin is killed so that it starts again.
var pluginFaults = map[string]func(c *chaos){
	"the plugin hangs before its handshake": func(c *chaos) { c.hang("start", true) },
	"the plugin hangs in Configure":         func(c *chaos) { c.hang("Configure", true) },
	"the plugin hangs in Claim":             func(c *chaos) { c.hang("Claim", true) },
	"the plugin hangs in Health":            func(c *chaos) { c.hang("Health", false) },
	"the plugin hangs in Apply":             func(c *chaos) { c.hang("Apply", false) },
	"the plugin hangs in Check":             func(c *chaos) { c.hang("Check", false) },
	"the plugin hangs in Stop":              func(c *chaos) { c.hang("Stop", false) },
	"the plugin cannot start at the moment": func(c *chaos) { c.createFaultFile("down", true) },
}

func (c *chaos) hang(call string, restart bool) { c.createFaultFile("hang-"+call, restart) }

func (c *chaos) createFaultFile(name string, restart bool) {
	if _, err := os.Stat(c.env.path(name)); err == nil {
		return
	}
	c.env.write(name, "")
	if restart && c.rejection == "" { // a restarted plugin does not know the rejected document and would try it again
		c.signal(c.env.pluginPID(), syscall.SIGKILL)
	}
	c.addActiveFault(func() { _ = os.Remove(c.env.path(name)) })
}
