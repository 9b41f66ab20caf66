package e2e_test

import (
	"maps"
	"os"
	"syscall"
)

func init() { maps.Copy(chaosFaults, pluginFaults) }

// pluginFaults are plugins that hang in each call, whatever their context says, until the fault is over. Those of the start hang
// the next time that the plugin is started, which is at once.
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

func (c *chaos) hang(call string, anew bool) { c.createFaultFile("hang-"+call, anew) }

func (c *chaos) createFaultFile(name string, anew bool) {
	if _, err := os.Stat(c.env.path(name)); err == nil {
		return
	}
	c.env.write(name, "")
	if anew && c.rejection == "" { // a plugin that is started anew knows nothing of it, and would try it once again
		c.signal(c.env.pluginPID(), syscall.SIGKILL)
	}
	c.addActiveFault(func() { _ = os.Remove(c.env.path(name)) })
}
