// Package hints suggests how to correct mistakes in templates.
//
// It knows the messages of text/template and sprig by their form, and what templates of this project may use. It does not know
// where in a file a mistake is, nor how errors are shown: a message without a hint is complete.
package hints

import "regexp"

// ForMessage returns what to do about a message of text/template or sprig, without its position, and "" for a message that it
// does not know.
func ForMessage(message string, c Context) string {
	for _, m := range messages {
		if parts := m.form.FindStringSubmatch(message); parts != nil {
			return m.hint(c, parts)
		}
	}
	return ""
}

// messages are the known forms of messages; the first one that matches counts. The groups of a form are the parts of its hint,
// from 1.
var messages = []struct {
	form *regexp.Regexp
	hint func(c Context, parts []string) string
}{
	{form(`^function "(.+)" not defined$`), func(c Context, p []string) string { return forFunction(c, p[1]) }},
	{form(`^undefined variable: `), constant("declare it with :=, as in {{ $x := 1 }}")},
	{form(`^undefined variable "(.+)"$`), func(c Context, p []string) string { return forVariable(c, p[1]) }},
	{form(`^template "(.+)" not defined$`), func(c Context, p []string) string { return ForTemplate(p[1], c.Templates) }},
	{form(`^can't evaluate field (\S+) in type (.+)$`), func(c Context, p []string) string { return forField(c, p[1], p[2]) }},
	{form(`^wrong number of args for (\w+):`), func(c Context, p []string) string { return forUsage(c, p[1]) }},
	{form(`^error calling (?:index|slice): (?:index|slice) of (?:untyped nil|nil pointer)$`), forMissing},
	{form(`^nil pointer evaluating `), forMissing},
	{form(`^error calling \w+: .* on zero Value$`), forMissing},
	{form(`^error calling (?:index|slice): .*out of range`), constant(
		"check the length with len, or iterate with range")},
	{form(`^error calling (?:eq|ne|lt|le|gt|ge): (?:incompatible|invalid|non-comparable) type`), constant(
		`compare values of one type: int converts strings to numbers, and toString converts numbers to strings`)},
	{form(`^(?:error calling \w+: )?wrong type for value; `), constant(
		"check the order of the arguments: a piped value is the last one; int and toString convert")},
	{form(`^expected string; found `), constant("strings are written in double quotes")},
	{form(`^expected (?:unsigned )?integer; found `), constant(`write a number without quotes, or convert to one with int`)},
	{form(`^range can't iterate over`), constant(
		"range iterates over lists, maps and numbers; splitList splits a string into a list")},
	{form(`^error calling \w+: .*divide by zero$`), constant("test with if that it is not 0")},
	{form(`^can't give argument to non-function `), constant(
		"only functions take arguments; strings are written in double quotes")},

	{form(`^unexpected "=" in operand$`), constant("compare with eq, as in {{ if eq .User \"haproxy\" }}, and declare with :=")},
	{form(`^unexpected "," in `), constant("arguments are separated by spaces, without commas")},
	{form(`^unexpected "[}{]" in `), constant("an action is written between two braces on each side")},
	{form(`^unexpected \{\{(?:end|else)\}\}$`), constant(
		"no if, range, with or define is open here; check for an {{ end }} too many before")},
	{form(`^unclosed action`), constant("it needs its }}")},
	{form(`^unclosed comment$`), constant("comments are written {{/* like this */}}")},
	{form(`^comment ends before closing delimiter$`), constant("*/ needs its }} directly after it")},
	{form(`^unterminated (?:raw )?quoted string$`), constant("close the string before the action ends")},
	{form(`^malformed character constant`), constant("strings are written in double quotes")},
	{form(`^unclosed left paren$`), constant("it needs its )")},
	{form(`^unexpected right paren$`), constant("it has no ( before it")},
	{form(`^(?:unexpected "[&!<>]" in |unrecognized character in action: |missing value for command)`), constant(
		"conditions are function calls: and, or, not, eq, lt and gt, followed by their arguments")},
	{form(`^bad character U\+002D`), constant(`a name with a dash is written in quotes, as in index .Services "my-app"`)},
	{form(`^missing value for (if|range|with)$`), func(_ Context, p []string) string {
		return "it needs a value, as in {{ " + p[1] + " .Services }}"
	}},
	{form(`^too many declarations in range$`), constant("range declares at most two variables: the key and the value")},
	{form(`^bad number syntax`), constant("strings are written in double quotes")},
	{form(`in template clause$`), constant("the name of a template is written in double quotes")},
	{form(`^\{\{(?:break|continue)\}\} outside`), constant("check for an {{ end }} too many before")},
}

func form(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

func constant(hint string) func(Context, []string) string {
	return func(Context, []string) string { return hint }
}

func forMissing(c Context, _ []string) string {
	if hint := ForMissingValue(c); hint != "" {
		return hint
	}
	return "the value does not exist: test for it with if or with"
}
