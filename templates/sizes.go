package templates

import (
	"reflect"
	"strings"
	"text/template"
)

// limited returns those of sprig's functions that could fill the memory before anybody can look at what they return. They fail
// instead.
func limited(fns template.FuncMap) template.FuncMap {
	span := fns["untilStep"].(func(int, int, int) []int)
	seq := fns["seq"].(func(...int) string)
	texts := fns["toStrings"].(func(any) []string)
	untilStep := func(name string, from, to, step int) ([]int, error) {
		if err := checkSpan(name, from, to, step); err != nil {
			return nil, err
		}
		return span(from, to, step), nil
	}
	all := template.FuncMap{
		"until": func(n int) ([]int, error) {
			if n < 0 {
				return untilStep("until", 0, n, -1)
			}
			return untilStep("until", 0, n, 1)
		},
		"untilStep": func(from, to, step int) ([]int, error) { return untilStep("untilStep", from, to, step) },
		"seq": func(params ...int) (string, error) {
			from, step, to := seqSpan(params)
			if err := checkSpan("seq", from, to, step); err != nil {
				return "", err
			}
			return seq(params...), nil
		},
		"repeat": func(n int, text string) (string, error) {
			if n < 0 {
				return "", failf("repeat is to write a text %d times", n)
			}
			if err := checkText("repeat", n, len(text)); err != nil {
				return "", err
			}
			return strings.Repeat(text, n), nil
		},
		"replace": func(old, replacement, text string) (string, error) {
			if err := checkText("replace", strings.Count(text, old), len(replacement)-len(old)); err != nil {
				return "", err
			}
			return strings.ReplaceAll(text, old, replacement), nil
		},
		"join": func(separator string, list any) (string, error) {
			parts := texts(list)
			length := 0
			for _, part := range parts {
				length += len(part) + len(separator)
			}
			if err := checkText("join", 1, length); err != nil {
				return "", err
			}
			return strings.Join(parts, separator), nil
		},
	}
	for _, name := range []string{"indent", "nindent"} {
		indent := fns[name].(func(int, string) string)
		all[name] = func(n int, text string) (string, error) {
			if n < 0 {
				return "", failf("%s is to move a text in by %d spaces", name, n)
			}
			if err := checkText(name, strings.Count(text, "\n")+1, n); err != nil {
				return "", err
			}
			return indent(n, text), nil
		}
	}
	for _, name := range []string{"randAlpha", "randAlphaNum", "randNumeric", "randAscii"} {
		draw := fns[name].(func(int) string)
		all[name] = func(n int) (string, error) {
			if err := checkText(name, 1, n); err != nil {
				return "", err
			}
			return draw(n), nil
		}
	}
	return all
}

// seqSpan returns what seq takes its one to three numbers for.
func seqSpan(params []int) (from, step, to int) {
	switch len(params) {
	case 1:
		return 1, 1, params[0]
	case 2:
		return params[0], 1, params[1]
	case 3:
		return params[0], params[1], params[2]
	}
	return 0, 1, 0
}

func checkSpan(name string, from, to, step int) error {
	// In floating point: the difference of two integers may be none.
	count := max(1, float64(to)-float64(from), float64(from)-float64(to)) / max(1, float64(step), -float64(step))
	if count > maxList {
		return failf("%s would make %.0f numbers, and %d is the most", name, count, maxList)
	}
	return nil
}

// checkText fails where n times that many bytes are too much.
func checkText(name string, n, length int) error {
	if made := float64(n) * float64(length); made > maxText {
		return failf("%s would make a text of %.0f MiB, and %d is the most", name, made/(1<<20), maxText>>20)
	}
	return nil
}

// bounded returns fn so that it fails where it returns more than templates may hold. Doubling a text in a loop is all that it
// takes to fill the memory.
func bounded(name string, fn any) any {
	v := reflect.ValueOf(fn)
	if kind := v.Type().Out(0).Kind(); kind != reflect.String && kind != reflect.Slice && name != "concat" {
		return fn
	}
	return reflect.MakeFunc(withError(v.Type()), func(args []reflect.Value) []reflect.Value {
		results := call(v, args)
		if len(results) == 1 {
			results = append(results, reflect.Zero(errorType))
		}
		if !results[1].IsNil() {
			return results
		}
		if err := checkMade(name, results[0]); err != nil {
			return []reflect.Value{reflect.Zero(v.Type().Out(0)), reflect.ValueOf(&err).Elem()}
		}
		return results
	}).Interface()
}

var errorType = reflect.TypeFor[error]()

// withError returns the type of a function that may fail besides.
func withError(t reflect.Type) reflect.Type {
	if t.NumOut() > 1 {
		return t
	}
	var in []reflect.Type
	for i := range t.NumIn() {
		in = append(in, t.In(i))
	}
	return reflect.FuncOf(in, []reflect.Type{t.Out(0), errorType}, t.IsVariadic())
}

// call calls fn with what a function made by [reflect.MakeFunc] is given.
func call(fn reflect.Value, args []reflect.Value) []reflect.Value {
	if fn.Type().IsVariadic() {
		return fn.CallSlice(args)
	}
	return fn.Call(args)
}

func checkMade(name string, made reflect.Value) error {
	if made.Kind() == reflect.Interface {
		made = made.Elem()
	}
	switch {
	case made.Kind() == reflect.String && made.Len() > maxText:
		return failf("%s makes a text of more than %d MiB: does a loop not end?", name, maxText>>20)
	case made.Kind() == reflect.Slice && made.Len() > maxList:
		return failf("%s makes a list of more than %d elements: does a loop not end?", name, maxList)
	}
	return nil
}
