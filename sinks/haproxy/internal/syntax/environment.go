package syntax

import (
	"maps"
	"slices"
	"strings"
)

// setByHAProxy are variables that HAProxy sets itself before it reads its configuration, at a start and at a reload.
var setByHAProxy = []string{
	"HAPROXY_LOCALPEER", "HAPROXY_STARTUP_VERSION", "HAPROXY_BRANCH", "HAPROXY_HTTP_LOG_FMT", "HAPROXY_HTTP_CLF_LOG_FMT",
	"HAPROXY_HTTPS_LOG_FMT", "HAPROXY_TCP_LOG_FMT", "HAPROXY_TCP_CLF_LOG_FMT",
}

// perStart are variables that differ between two starts of a service. Programs and Lua scripts can read them, but no
// configuration depends on their values.
var perStart = []string{
	"_", "SHLVL", "PWD", "OLDPWD", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "NOTIFY_SOCKET", "WATCHDOG_PID",
}

// DifferentVariable returns the name of an environment variable because of which HAProxy would load c differently in the two
// environments, or "" if there is none. It applies setenv, presetenv, unsetenv and resetenv in order, as HAProxy does. Programs
// and Lua scripts may read any variable.
func (c *Config) DifferentVariable(one, other map[string]string) string {
	one, other = maps.Clone(one), maps.Clone(other)
	differs := func(name string) bool {
		value, set := one[name]
		otherValue, otherSet := other[name]
		return (set != otherSet || value != otherValue) && !slices.Contains(setByHAProxy, name)
	}
	for _, s := range c.sections {
		for _, line := range append([]string{s.header}, s.lines...) {
			names := variablesIn(line)
			if s.kind == "program" || strings.HasPrefix(line, "lua-load") {
				names = append(names, inherited(one, other)...)
			}
			if i := slices.IndexFunc(names, differs); i >= 0 {
				return names[i]
			}
			if s.kind == "global" && len(s.conditions) == 0 { // in a conditional block it is unknown whether the line counts
				setVariables(line, one)
				setVariables(line, other)
			}
		}
	}
	return ""
}

// Variables returns the names of the environment variables that c refers to.
func (c *Config) Variables() []string {
	var names []string
	for _, s := range c.sections {
		for _, line := range append([]string{s.header}, s.lines...) {
			names = append(names, variablesIn(line)...)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(setByHAProxy, name) })
}

// AssignedVariables returns the names of the variables that c sets.
func (c *Config) AssignedVariables() []string {
	var names []string
	for _, s := range c.sections {
		for _, line := range s.lines {
			words := strings.Split(line, " ")
			if s.kind == "global" && (words[0] == "setenv" || words[0] == "presetenv") && len(words) > 1 {
				names = append(names, withoutQuotes(words[1]))
			}
		}
	}
	return names
}

// ResetsEnvironment reports whether c has a resetenv line. The line removes variables that a master process needs to reload: on
// 2.6 to 3.2 the master takes the reload for its first start.
func (c *Config) ResetsEnvironment() bool {
	return slices.ContainsFunc(c.sections, func(s *entry) bool {
		return s.kind == "global" && slices.ContainsFunc(s.lines, func(line string) bool { return firstWord(line) == "resetenv" })
	})
}

// setVariables applies a line of the global section to an environment.
func setVariables(line string, environment map[string]string) {
	words := strings.SplitN(line, " ", 3)
	switch {
	case words[0] == "setenv" && len(words) == 3:
		environment[withoutQuotes(words[1])] = words[2]
	case words[0] == "presetenv" && len(words) == 3:
		if _, set := environment[withoutQuotes(words[1])]; !set {
			environment[withoutQuotes(words[1])] = words[2]
		}
	case words[0] == "unsetenv":
		for _, name := range strings.Split(line, " ")[1:] {
			delete(environment, withoutQuotes(name))
		}
	case words[0] == "resetenv":
		kept := strings.Split(line, " ")[1:]
		maps.DeleteFunc(environment, func(name, _ string) bool { return !slices.Contains(kept, name) })
	}
}

// withoutQuotes returns the value of a word that has no variables.
func withoutQuotes(word string) string {
	text, _ := unquoted([]byte(word))
	return string(text)
}

// inherited returns the names of the variables that programs and scripts see, except those that HAProxy sets itself.
func inherited(one, other map[string]string) []string {
	names := slices.Concat(slices.Collect(maps.Keys(one)), slices.Collect(maps.Keys(other)))
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, "HAPROXY_") || strings.HasPrefix(name, "PLUGIN_") || slices.Contains(perStart, name)
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// variablesIn returns the names of the variables that a line may refer to: as $NAME or ${NAME}, in env(NAME), or in
// defined(NAME). It includes those in single quotes, which HAProxy does not expand.
func variablesIn(line string) []string {
	var names []string
	for _, before := range []string{"${", "$", "env(", "defined("} {
		rest := line
		for {
			_, after, found := strings.Cut(rest, before)
			if !found {
				break
			}
			end := strings.IndexFunc(after, func(r rune) bool { return !inVariable(r) })
			if end < 0 {
				end = len(after)
			}
			if end > 0 {
				names = append(names, after[:end])
			}
			rest = after
		}
	}
	return names
}

func inVariable(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
}
