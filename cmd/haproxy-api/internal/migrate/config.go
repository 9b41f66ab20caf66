package migrate

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// configFindings returns what differs in a configuration file. err is that of loading it.
func configFindings(file string, content []byte, err error) []Finding {
	lines := keyLines(file, content)
	found := faultFindings(file, lines, err)
	add := func(severity Severity, key, what, change string) {
		found = append(found, Finding{File: file, Line: lines[key], Severity: severity, What: what, Change: change})
	}
	if _, ok := lines["haproxy.reload_cmd"]; ok {
		add(Changed, "haproxy.reload_cmd", "reload_cmd is run by bash as in 0.9, but not for instances that HAProxy can add, "+
			"change and remove while it runs; a bare 'haproxy' in it passes the listening sockets on",
			"remove reload_cmd and haproxy-api starts, reloads and supervises HAProxy itself")
	} else {
		add(Changed, "haproxy", "haproxy-api starts HAProxy as master and worker and reloads it over a socket; 0.9 ran "+
			"'haproxy -sf' with bash for each change",
			"no change is needed: a HAProxy that runs with this config_file is taken over")
	}
	if _, ok := lines["haproxy.verify_cmd"]; ok {
		add(Changed, "haproxy.verify_cmd", "verify_cmd is run by bash as in 0.9; where it mentions config_file it checks a copy "+
			"before the file is replaced, and 0.9 replaced the file first",
			"remove verify_cmd and haproxy-api runs 'haproxy -c' itself")
	}
	add(Note, "", "instances take effect at once, and reloads are at least reload_interval (5s) apart; 0.9 waited for 5 seconds "+
		"after each reload", "set reload_interval in [haproxy] if you need another interval")
	add(Note, "", "a state that lost more than half of the instances is held for up to 30 seconds before it is used; 0.9 used "+
		"it at once", "set max_drop and hold in [sidecar] if you need other limits")
	return found
}

// faultFindings returns the faults of the configuration. haproxy-api 0.9 ignored what it did not know, and went on without what
// it could not read.
func faultFindings(file string, lines map[string]int, err error) []Finding {
	faults, ok := errors.AsType[config.Faults](err)
	if !ok {
		return nil
	}
	var found []Finding
	for _, fault := range faults {
		f := Finding{
			File: fault.Origin, Severity: Error, What: strings.TrimSpace(fault.Key + " " + fault.Problem),
			Change: "correct or remove it: 0.9 ignored what it did not know",
		}
		if strings.HasPrefix(fault.Origin, file) {
			f.File, f.Line = file, lines[fault.Key]
			if position := strings.TrimPrefix(fault.Origin, file); position != "" { // where it cannot be parsed
				f.What = strings.TrimPrefix(position, ":") + ": " + f.What
				f.Change = "correct the file"
			}
		}
		found = append(found, f)
	}
	return found
}

var (
	tableLine = regexp.MustCompile(`^\s*\[\s*([\w.-]+)\s*\]`)
	keyLine   = regexp.MustCompile(`^\s*([\w.-]+)\s*=`)
)

// keyLines returns the lines of the tables and keys of a file in TOML, the format of 0.9.
func keyLines(file string, content []byte) map[string]int {
	lines := map[string]int{}
	if filepath.Ext(file) != ".toml" {
		return lines
	}
	table := ""
	for i, line := range strings.Split(string(content), "\n") {
		if match := tableLine.FindStringSubmatch(line); match != nil {
			table = match[1]
			lines[table] = i + 1
		} else if match := keyLine.FindStringSubmatch(line); match != nil {
			lines[strings.TrimPrefix(table+"."+match[1], ".")] = i + 1
		}
	}
	return lines
}
