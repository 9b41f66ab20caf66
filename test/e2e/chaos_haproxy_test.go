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

func init() { maps.Copy(chaosFaults, haproxyFaults) }

// haproxyFaults are faults of HAProxy that its check does not find, and of its environment.
var haproxyFaults = map[string]func(c *chaos){
	"a template with which the worker does not start": func(c *chaos) {
		missing := c.env.path(fmt.Sprintf("missing-%d", c.variants+1))
		c.saveFailing("chroot "+missing, missing)
	},
	"a template with which the worker ends a second later": func(c *chaos) {
		code := 1 + c.variants%100
		c.env.write("exit.lua", fmt.Sprintf("core.register_task(function() core.msleep(1000) os.exit(%d) end)\n", code))
		c.saveFailing("lua-load "+c.env.path("exit.lua"), fmt.Sprintf("exited with code %d ", code))
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
			if conn, err := net.Dial("unix", c.env.path("haproxy.master.sock")); err == nil {
				idle = append(idle, conn)
			}
		}
		c.addActiveFault(func() {
			for _, conn := range idle {
				_ = conn.Close()
			}
		})
	},
}

// saveFailing saves a template whose documents pass the check and then fail to load or end HAProxy, with words in the error. It
// waits until the template is rejected with these words and HAProxy serves again. Meanwhile requests may fail and the documents
// may be on disk. The template stays as it is, since it must not be tried again.
func (c *chaos) saveFailing(line, words string) {
	c.env.t.Helper()
	c.endActiveFaults() // a stopped process or a full disk prevents the rollback
	back := c.invariants.beginOutage()
	defer back()
	c.variants++
	content := strings.Replace(chaosTemplate(c.variants, 0), "global\n", "global\n  "+line+"\n", 1)
	c.invariants.addTemplate(c.variants, content)
	c.save(content)
	c.rejection = words
	c.waitRejected()
}

// waitRejected waits until the failing template is rejected and HAProxy serves again. If there is no other template, the
// rejection is a problem of the pipeline.
func (c *chaos) waitRejected() {
	c.env.t.Helper()
	c.env.eventually("the template is rejected with "+c.rejection, func() bool {
		p := c.env.pipeline()
		return strings.Contains(strings.Join(append(p.Problems, p.TemplateError), "\n"), c.rejection)
	})
	c.waitServing()
}

// runForeign runs another HAProxy on the same addresses, as a service manager does that restarts its own HAProxy. Half of the
// requests go to that process, and the problems of the pipeline name it. HAProxy serves as before once it has ended.
func (c *chaos) runForeign() {
	c.endActiveFaults()
	var config strings.Builder
	config.WriteString("defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n" +
		"frontend foreign\n")
	for n := range chaosServices {
		fmt.Fprintf(&config, "  bind %s:%d\n", c.env.ip, chaosPort+n)
	}
	config.WriteString("  http-request return status 500\n")
	c.env.write("foreign.cfg", config.String())
	back := c.invariants.beginOutage()
	defer back()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		c.env.t.Fatal(err)
	}
	foreign := exec.Command(program, "-db", "-f", c.env.path("foreign.cfg"))
	if err := foreign.Start(); err != nil {
		c.env.t.Fatal(err)
	}
	pid := strconv.Itoa(foreign.Process.Pid)
	c.env.eventually("the problems name the process "+pid, func() bool {
		return slices.ContainsFunc(c.env.pipeline().Problems, func(problem string) bool { return strings.Contains(problem, pid) })
	})
	if c.rand.IntN(2) == 0 {
		c.signal(c.env.masterPID(), syscall.SIGKILL)
	}
	_ = foreign.Process.Kill()
	_ = foreign.Wait()
	c.waitServing()
}

// endActiveFaults ends the faults that are active.
func (c *chaos) endActiveFaults() {
	for _, end := range c.activeFaults {
		end()
	}
	c.activeFaults = nil
}

// waitServing waits until HAProxy serves and its master stays the same. An old worker may serve until the master ends because the
// new worker has ended.
func (c *chaos) waitServing() {
	c.env.t.Helper()
	c.env.eventually("HAProxy serves again", func() bool {
		master := c.env.masterPID()
		if !c.serves() {
			return false
		}
		time.Sleep(500 * time.Millisecond)
		return c.serves() && c.env.masterPID() == master
	})
}

// checkEnvironment waits until HAProxy has the environment variables that a fresh start with the configuration on disk would set.
func (c *chaos) checkEnvironment() {
	c.env.t.Helper()
	want := chaosEnvironment(c.environment)
	got := ""
	c.env.eventually("HAProxy has the environment "+want, func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:%d/", c.env.ip, chaosPort))
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		got = resp.Header.Get("X-Environment")
		return got == want
	})
}

// chaosEnvironment returns what the templates render for two variables; 0 stands for templates without them.
func chaosEnvironment(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("s%d-p%d", number, number/2)
}
