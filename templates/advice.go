package templates

import "regexp"

// advice is what to say about messages of text/template and sprig, by their form. It belongs to locate.go, which alone reads
// such texts. A message of another form is told without advice.
var advice = []struct {
	form *regexp.Regexp
	hint func(s scene, parts []string) string // parts are what the form has in brackets, from 1
}{
	{form(`^function "(.+)" not defined$`), func(_ scene, p []string) string { return hintFunction(p[1]) }},
	{form(`^undefined variable: `), says("declare it with :=, as in {{ $x := 1 }}")},
	{form(`^undefined variable "(.+)"$`), func(s scene, p []string) string { return hintVariable(s, p[1]) }},
	{form(`^template "(.+)" not defined$`), func(s scene, p []string) string { return hintTemplate(p[1], s.templates) }},
	{form(`^can't evaluate field (\S+) in type (.+)$`), func(_ scene, p []string) string { return hintField(p[1], p[2]) }},
	{form(`^wrong number of args for (\w+):`), func(_ scene, p []string) string { return hintUsage(p[1]) }},
	{form(`^error calling (?:index|slice): (?:index|slice) of (?:untyped nil|nil pointer)$`), hintMissing},
	{form(`^nil pointer evaluating `), hintMissing},
	{form(`^error calling \w+: .* on zero Value$`), hintMissing},
	{form(`^error calling (?:index|slice): .*out of range`), says(
		"there are not that many: ask with len, or go through them with range")},
	{form(`^error calling (?:eq|ne|lt|le|gt|ge): (?:incompatible|invalid|non-comparable) type`), says(
		`compare what is of one type: make numbers of texts with int, and texts of numbers with toString`)},
	{form(`^(?:error calling \w+: )?wrong type for value; `), says(
		"is the order of the arguments right? What is piped comes last; int and toString convert")},
	{form(`^expected string; found `), says("a text is written in double quotes")},
	{form(`^expected (?:unsigned )?integer; found `), says(`write a number without quotes, or make one with int`)},
	{form(`^range can't iterate over`), says("range goes over lists, maps and numbers; splitList makes a list of a text")},
	{form(`^error calling \w+: .*divide by zero$`), says("ask with if whether it is 0 first")},
	{form(`^can't give argument to non-function `), says("only functions take arguments: a text is written in double quotes")},

	{form(`^unexpected "=" in operand$`), says("compare with eq, as in {{ if eq .User \"haproxy\" }}, and declare with :=")},
	{form(`^unexpected "," in `), says("arguments are separated by spaces, without commas")},
	{form(`^unexpected "[}{]" in `), says("an action is written between two braces on each side")},
	{form(`^unexpected \{\{(?:end|else)\}\}$`), says(
		"no if, range, with or define is open here: is there one {{ end }} too many before?")},
	{form(`^unclosed action`), says("it needs its }}")},
	{form(`^unclosed comment$`), says("a comment is written {{/* so */}}")},
	{form(`^comment ends before closing delimiter$`), says("*/ needs its }} right behind it")},
	{form(`^unterminated (?:raw )?quoted string$`), says("close it before the action ends")},
	{form(`^malformed character constant`), says("a text is written in double quotes")},
	{form(`^unclosed left paren$`), says("it needs its )")},
	{form(`^unexpected right paren$`), says("it has no ( before it")},
	{form(`^(?:unexpected "[&!<>]" in |unrecognized character in action: |missing value for command)`), says(
		"conditions are written with and, or, not, eq, lt and gt before what they are about")},
	{form(`^bad character U\+002D`), says(`a name with a dash is written in quotes, as in index .Services "my-app"`)},
	{form(`^missing value for (if|range|with)$`), func(_ scene, p []string) string {
		return "say what it is about, as in {{ " + p[1] + " .Services }}"
	}},
	{form(`^too many declarations in range$`), says("there are two at most: the key and the value")},
	{form(`^bad number syntax`), says("a text is written in double quotes")},
	{form(`in template clause$`), says("the name of a template is written in double quotes")},
	{form(`^\{\{(?:break|continue)\}\} outside`), says("is there an {{ end }} too many before?")},
}

func form(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

func says(hint string) func(scene, []string) string {
	return func(scene, []string) string { return hint }
}

func hintMissing(s scene, _ []string) string {
	if hint := hintNothing(s); hint != "" {
		return hint
	}
	return "what is looked into does not exist: ask with if or with before"
}

// hint returns what to do about a message, "" where nobody knows.
func hint(message string, s scene) string {
	for _, a := range advice {
		if parts := a.form.FindStringSubmatch(message); parts != nil {
			return a.hint(s, parts)
		}
	}
	return ""
}
