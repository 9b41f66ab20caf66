package docs_test

import (
	"regexp"
	"slices"
	"strings"
)

// foreignWords are words with underscores that are names of other programs.
var foreignWords = map[string]bool{
	"again_in": true, "generation_in_effect": true, "left_out": true, // earlier names, in CHANGELOG.md
	"http_auth_bearer": true, "http_auth_pass": true, // HAProxy
	"retry_timeout": true, "scrape_configs": true, "node_modules": true, // other programs
}

var (
	tableName  = regexp.MustCompile(`^\[([a-z_]+)((?:\.[^\]]+)?)\](?: ([a-z0-9_]+)(?: = .*)?)?$`)
	dottedKey  = regexp.MustCompile(`^([a-z_]+)((?:\.[A-Za-z0-9_-]+)+)(?: ?= ?.*)?$`)
	setting    = regexp.MustCompile(`^([a-z]+(?:_[a-z0-9]+)+) = .+$`)
	setFlag    = regexp.MustCompile(`--set ([a-z_]+)((?:\.[A-Za-z0-9_-]+)+)=`)
	bareWord   = regexp.MustCompile(`^[a-z0-9]+(?:_[a-z0-9]+)+$`)
	fileEnding = regexp.MustCompile(`\.(cfg|pid|log|sock|tmpl|toml|yaml|json|md|go|lock|applied|service|deb|rpm|mjs|proto)$`)
)

// checkKeys reports keys and tables of the configuration that do not exist, and words with underscores that the code does not
// have.
func checkKeys(v *vocabulary, p *page, report reporter) {
	for _, block := range p.code {
		for _, match := range setFlag.FindAllStringSubmatch(block.text, -1) {
			v.checkKey(block.line, match[1], match[2], report)
		}
	}
	for _, span := range p.spans {
		if match := tableName.FindStringSubmatch(span.text); match != nil {
			v.checkTable(span.line, match[1], match[2], match[3], report)
		} else if match := setFlag.FindStringSubmatch(span.text); match != nil {
			v.checkKey(span.line, match[1], match[2], report)
		} else if match := dottedKey.FindStringSubmatch(span.text); match != nil {
			if v.tables[match[1]] != nil && !fileEnding.MatchString(match[2]) {
				v.checkKey(span.line, match[1], match[2], report)
			}
		} else if match := setting.FindStringSubmatch(span.text); match != nil {
			if !v.keys[match[1]] {
				report(span.line, "no table has the key %s", match[1])
			}
		} else if bareWord.MatchString(span.text) && !v.words[span.text] && !v.keys[span.text] && !v.metrics[span.text] &&
			!foreignWords[span.text] {
			report(span.line, "the code has no word %s", span.text)
		}
	}
}

// namedTables contain tables whose names users choose.
var namedTables = []string{"sources", "sinks", "plugins", "pipelines"}

func (v *vocabulary) checkTable(line int, table, rest, key string, report reporter) {
	isNamed := slices.Contains(namedTables, table)
	switch {
	case len(table) < 2:
	case v.tables[table] == nil:
		report(line, "there is no table %s", table)
	case rest != "" && !isNamed:
		report(line, "the table %s contains no tables", table)
	case key != "" && !v.tables[table][key]:
		report(line, "the table %s has no key %s", table, key)
	}
}

// checkKey reports a path that leads to no key. rest is the path below the table, each part with its dot.
func (v *vocabulary) checkKey(line int, table, rest string, report reporter) {
	parts := strings.Split(rest, ".")[1:]
	if slices.Contains(namedTables, table) {
		parts = parts[1:]
	}
	if len(parts) > 0 && !v.tables[table][parts[0]] {
		report(line, "there is no key %s%s", table, rest)
	}
}
