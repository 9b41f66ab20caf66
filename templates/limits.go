package templates

import (
	"maps"
	"reflect"
	"strings"
	"text/template"
)

const (
	maxText = 16 << 20  // bytes of a string that a function returns
	maxList = 1_000_000 // elements of a list that a function returns
)

// limited returns the functions of sprig that could fill the memory before anybody can check what they return. Here they fail
// instead.
func limited(sprig template.FuncMap) template.FuncMap {
	fns := limitedNumbers(sprig)
	maps.Copy(fns, limitedStrings(sprig))
	return fns
}

// limitedNumbers returns the functions that count.
func limitedNumbers(sprig template.FuncMap) template.FuncMap {
	span := sprig["untilStep"].(func(int, int, int) []int)
	seq := sprig["seq"].(func(...int) string)
	untilStep := func(name string, from, to, step int) ([]int, error) {
		if err := checkSpan(name, from, to, step); err != nil {
			return nil, err
		}
		return span(from, to, step), nil
	}
	return template.FuncMap{
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
	}
}

// limitedStrings returns the functions that make strings longer.
func limitedStrings(sprig template.FuncMap) template.FuncMap {
	toStrings := sprig["toStrings"].(func(any) []string)
	fns := template.FuncMap{
		"repeat": func(n int, text string) (string, error) {
			if n < 0 {
				return "", failf("repeat cannot write a string %d times", n)
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
			parts := toStrings(list)
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
		indent := sprig[name].(func(int, string) string)
		fns[name] = func(n int, text string) (string, error) {
			if n < 0 {
				return "", failf("%s cannot indent a string by %d spaces", name, n)
			}
			if err := checkText(name, strings.Count(text, "\n")+1, n); err != nil {
				return "", err
			}
			return indent(n, text), nil
		}
	}
	for _, name := range []string{"randAlpha", "randAlphaNum", "randNumeric", "randAscii"} {
		random := sprig[name].(func(int) string)
		fns[name] = func(n int) (string, error) {
			if err := checkText(name, 1, n); err != nil {
				return "", err
			}
			return random(n), nil
		}
	}
	return fns
}

// seqSpan returns what the one to three arguments of seq mean.
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
	// In floating point, since the difference of two integers may overflow.
	count := max(1, float64(to)-float64(from), float64(from)-float64(to)) / max(1, float64(step), -float64(step))
	if count > maxList {
		return failf("%s would return %.0f numbers, and the maximum is %d", name, count, maxList)
	}
	return nil
}

// checkText fails if n times that many bytes exceed maxText.
func checkText(name string, n, length int) error {
	if made := float64(n) * float64(length); made > maxText {
		return failf("%s would return a string of %.0f MiB, and the maximum is %d MiB", name, made/(1<<20), maxText>>20)
	}
	return nil
}

// bounded returns fn so that it fails if it returns a string or list that exceeds maxText or maxList. A loop that doubles a
// string fills the memory in a few iterations.
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
		if err := checkResult(name, results[0]); err != nil {
			return []reflect.Value{reflect.Zero(v.Type().Out(0)), reflect.ValueOf(&err).Elem()}
		}
		return results
	}).Interface()
}

var errorType = reflect.TypeFor[error]()

// withError returns the type of a function like t that returns an error, too.
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

// call calls fn with the arguments of a function that [reflect.MakeFunc] made.
func call(fn reflect.Value, args []reflect.Value) []reflect.Value {
	if fn.Type().IsVariadic() {
		return fn.CallSlice(args)
	}
	return fn.Call(args)
}

func checkResult(name string, result reflect.Value) error {
	if result.Kind() == reflect.Interface {
		result = result.Elem()
	}
	switch {
	case result.Kind() == reflect.String && result.Len() > maxText:
		return failf("%s returns a string of more than %d MiB: does a loop not end?", name, maxText>>20)
	case result.Kind() == reflect.Slice && result.Len() > maxList:
		return failf("%s returns a list of more than %d elements: does a loop not end?", name, maxList)
	}
	return nil
}
