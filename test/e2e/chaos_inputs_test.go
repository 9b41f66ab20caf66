package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"syscall"
)

func init() { maps.Copy(chaosFaults, inputFaults) }

const (
	// chaosInputPort is where HAProxy serves the file that it reads beside its configuration.
	chaosInputPort = 8900
	chaosInput     = "page"
)

// inputFaults are changes of a file that HAProxy reads beside its configuration.
var inputFaults = map[string]func(c *chaos){
	"a referenced file changes": func(c *chaos) { c.changeInput() },
	"a referenced file changes unseen": func(c *chaos) {
		c.inputs++
		c.env.write(chaosInput, c.input())
	},
	"a referenced file is touched": func(c *chaos) {
		if content := c.env.read(chaosInput); content != "" {
			c.env.write(chaosInput, content)
			c.reread()
		}
	},
	"a referenced file vanishes": func(c *chaos) {
		_ = os.Remove(c.env.path(chaosInput))
		c.reread()
		c.addActiveFault(c.changeInput)
	},
}

func (c *chaos) input() string { return fmt.Sprintf("page %d", c.inputs) }

func (c *chaos) changeInput() {
	c.inputs++
	if c.rand.IntN(2) == 0 {
		c.env.writeInPlace(chaosInput, c.input())
	} else {
		c.env.write(chaosInput+".new", c.input())
		_ = os.Rename(c.env.path(chaosInput+".new"), c.env.path(chaosInput))
	}
	c.reread()
}

// reread sends SIGHUP, so that the daemon rereads the files that HAProxy reads. Before the daemon handles that signal, it would
// end it.
func (c *chaos) reread() {
	if c.env.apiAnswers() {
		c.signal(c.env.cmd.Process.Pid, syscall.SIGHUP)
	}
}

// checkInput waits until HAProxy has loaded the current content of the file.
func (c *chaos) checkInput() {
	c.env.t.Helper()
	c.reread()
	c.env.waitAnswer(chaosInputPort, c.env.read(chaosInput))
}

// chaosInputFrontend returns the section that serves the file. It is part of every template.
func chaosInputFrontend() string {
	return fmt.Sprintf("frontend input\n  bind {{ bindIP }}:%d\n"+
		"  http-request return status 200 content-type text/plain file %s if TRUE\n", chaosInputPort, chaosInput)
}
