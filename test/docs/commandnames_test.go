package docs_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// hiddenCommands are not in the help.
var hiddenCommands = []string{"haproxy-api man", "haproxy-api help", "haproxy-api plugin haproxy"}

// foreignFlags are flags of other programs that documents mention without the program.
var foreignFlags = map[string]bool{
	"--validate-config": true, "--reload-retry": true, // HAProxy's Data Plane API
	"--validate-cmd":   true, // consul-template
	"--enable-feature": true, // Prometheus
	"--no-block":       true, // systemctl
}

// checkCommands reports commands and flags that haproxy-api does not have.
func checkCommands(v *vocabulary, p *page, report reporter) {
	for _, block := range p.code {
		if block.language != "sh" && block.language != "" {
			continue
		}
		for _, words := range commandsIn(block.text) {
			v.checkCommand(block.line, words, report)
		}
	}
	for _, span := range p.spans {
		words := strings.Fields(span.text)
		switch {
		case len(words) == 0:
		case path.Base(words[0]) == "haproxy-api":
			v.checkCommand(span.line, words, report)
		case strings.HasPrefix(words[0], "--"):
			if name, _, _ := strings.Cut(words[0], "="); longFlag.MatchString(name) && !v.hasFlag(name) && !foreignFlags[name] {
				report(span.line, "no command has the flag %s", name)
			}
		case v.commands["haproxy-api "+words[0]] != nil && len(words) > 1:
			v.checkCommand(span.line, append([]string{"haproxy-api"}, words...), report)
		}
	}
}

var (
	anyFlag    = regexp.MustCompile(`^(--[a-z][a-z0-9-]*(=.*)?|-[a-zA-Z])$`)
	longFlag   = regexp.MustCompile(`^--[a-z][a-z0-9-]*$`)
	separator  = regexp.MustCompile(`\|\||&&|[|;&(]|\$\(|\bthen\b|\bdo\b`)
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	prefixes   = []string{"sudo", "exec", "!", "if", "while", "until", "time", "nohup", "$", "#"}
)

// commandsIn returns the words of each command of haproxy-api in a text for a shell.
func commandsIn(text string) [][]string {
	var all [][]string
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " #")
		for _, part := range separator.Split(line, -1) {
			words := strings.Fields(part)
			for len(words) > 0 && (slices.Contains(prefixes, words[0]) || assignment.MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 0 && path.Base(words[0]) == "haproxy-api" {
				all = append(all, words)
			}
		}
	}
	return all
}

// commandName matches what a name of a command looks like, so that placeholders are left out.
var commandName = regexp.MustCompile(`^[a-z]+$`)

// checkCommand reports what haproxy-api does not have of one command line.
func (v *vocabulary) checkCommand(line int, words []string, report reporter) {
	command := "haproxy-api"
	for i := 1; i < len(words); i++ {
		word := strings.Trim(words[i], "[]`\"',")
		flags := v.commands[command]
		switch {
		case strings.HasPrefix(word, ">") || word == "<":
			return
		case anyFlag.MatchString(word):
			name, _, hasValue := strings.Cut(word, "=")
			takesValue, known := flags[name]
			if !known {
				report(line, "%s has no flag %s", command, name)
			}
			if takesValue && !hasValue {
				i++
			}
		case v.commands[command+" "+word] != nil || slices.Contains(hiddenCommands, command+" "+word):
			command += " " + word
			if slices.Contains(hiddenCommands, command) {
				return
			}
		case v.hasSubcommands(command) && commandName.MatchString(word):
			report(line, "%s has no command %s", command, word)
			return
		}
	}
}

func (v *vocabulary) hasSubcommands(command string) bool {
	for name := range v.commands {
		if strings.HasPrefix(name, command+" ") {
			return true
		}
	}
	return false
}
