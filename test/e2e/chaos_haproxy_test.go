package e2e_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func init() { maps.Copy(faults, haproxyFaults) }

// haproxyFaults are faults of a HAProxy that its check does not find, and of what is around it.
var haproxyFaults = map[string]func(c *chaos){
	"a template with which the worker does not start": func(c *chaos) {
		missing := c.s.path(fmt.Sprintf("missing-%d", c.variants+1))
		c.saveFailing("chroot "+missing, missing)
	},
	"a template with which the worker ends a second later": func(c *chaos) {
		code := 1 + c.variants%100
		c.s.write("exit.lua", fmt.Sprintf("core.register_task(function() core.msleep(1000) os.exit(%d) end)\n", code))
		c.saveFailing("lua-load "+c.s.path("exit.lua"), fmt.Sprintf("exited with code %d ", code))
	},
	"the environment in the template changes": func(c *chaos) {
		c.environment++
		c.saveTemplate()
	},
	"another HAProxy listens on the same addresses": func(c *chaos) { c.runForeign() },
	"the connections of HAProxy's socket are used up": func(c *chaos) {
		// HAProxy accepts ten connections and closes an idle one after ten seconds.
		const most = 10
		var idle []net.Conn
		for range most {
			if conn, err := net.Dial("unix", c.s.path("haproxy.master.sock")); err == nil {
				idle = append(idle, conn)
			}
		}
		c.lasts(func() {
			for _, conn := range idle {
				_ = conn.Close()
			}
		})
	},
}

// saveFailing saves a template whose documents pass the check. HAProxy fails to load them, or ends soon after, and says words. It
// waits until the template is rejected with these words and HAProxy serves as before; requests may be lost meanwhile, and the
// documents may be on disk. The template stays as it is: it must not be tried again.
func (c *chaos) saveFailing(line, words string) {
	c.s.t.Helper()
	c.endLasting() // what stands still or has no room cannot put anything back
	back := c.accounts.outage()
	defer back()
	c.variants++
	content := strings.Replace(chaosTemplate(c.variants, 0), "global\n", "global\n  "+line+"\n", 1)
	c.accounts.accept(c.variants, content)
	c.save(content)
	c.failing = words
	c.rejectsFailing()
}

// rejectsFailing waits until the template that fails is rejected and HAProxy serves again. Where there is no other template, the
// rejection is a problem of the pipeline.
func (c *chaos) rejectsFailing() {
	c.s.t.Helper()
	c.s.eventually("the template is rejected with "+c.failing, func() bool {
		p := c.s.pipeline()
		return strings.Contains(strings.Join(append(p.Problems, p.TemplateError), "\n"), c.failing)
	})
	c.servesAgain()
}

// runForeign runs another HAProxy on the same addresses, as a service manager does that starts its own HAProxy again. Half of the
// requests go to that one, so that it is named as a problem. HAProxy is as before once it has ended.
func (c *chaos) runForeign() {
	c.endLasting()
	var config strings.Builder
	config.WriteString("defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n" +
		"frontend foreign\n")
	for n := range chaosServices {
		fmt.Fprintf(&config, "  bind %s:%d\n", c.s.ip, chaosPort+n)
	}
	config.WriteString("  http-request return status 500\n")
	c.s.write("foreign.cfg", config.String())
	back := c.accounts.outage()
	defer back()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		c.s.t.Fatal(err)
	}
	foreign := exec.Command(program, "-db", "-f", c.s.path("foreign.cfg"))
	if err := foreign.Start(); err != nil {
		c.s.t.Fatal(err)
	}
	pid := strconv.Itoa(foreign.Process.Pid)
	c.s.eventually("the problems name the process "+pid, func() bool {
		return slices.ContainsFunc(c.s.pipeline().Problems, func(problem string) bool { return strings.Contains(problem, pid) })
	})
	if c.rand.IntN(2) == 0 {
		c.signal(c.s.masterPID(), syscall.SIGKILL)
	}
	_ = foreign.Process.Kill()
	_ = foreign.Wait()
	c.servesAgain()
}

// endLasting ends the faults that last.
func (c *chaos) endLasting() {
	for _, end := range c.lasting {
		end()
	}
	c.lasting = nil
}

// servesAgain waits until HAProxy serves and stays. An old worker may serve for a moment longer, until the master ends because
// the new one did.
func (c *chaos) servesAgain() {
	c.s.t.Helper()
	c.s.eventually("HAProxy serves again", func() bool {
		master := c.s.masterPID()
		if !c.serves() {
			return false
		}
		time.Sleep(500 * time.Millisecond)
		return c.serves() && c.s.masterPID() == master
	})
}

// checkEnvironment wants HAProxy to have the environment that a fresh start with the configuration on disk would have.
func (c *chaos) checkEnvironment() {
	c.s.t.Helper()
	want := chaosEnvironment(c.environment)
	got := ""
	c.s.eventually("HAProxy has the environment "+want, func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:%d/", c.s.ip, chaosPort))
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		got = resp.Header.Get("X-Environment")
		return got == want
	})
}

// chaosEnvironment is what the templates make of two variables. 0 stands for templates without any.
func chaosEnvironment(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("s%d-p%d", number, number/2)
}
