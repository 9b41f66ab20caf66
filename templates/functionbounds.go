package templates

import (
	"reflect"
	"strings"
	"text/template"
)

const (
	maxText = 16 << 20  // bytes of a string that a function returns
	maxList = 1_000_000 // elements of a list that a function returns
)

// argumentChecks return the functions that check, by the name of a function of sprig, arguments with which it could fill the
// memory before its result can be checked.
func argumentChecks(sprig template.FuncMap) map[string]func(args []reflect.Value) error {
	toStrings := sprig["toStrings"].(func(any) []string)
	checks := map[string]func(args []reflect.Value) error{
		"until": func(args []reflect.Value) error { return checkSpan("until", 0, integer(args[0]), 1) },
		"untilStep": func(args []reflect.Value) error {
			return checkSpan("untilStep", integer(args[0]), integer(args[1]), integer(args[2]))
		},
		"seq": func(args []reflect.Value) error {
			from, step, to := seqSpan(args[0].Interface().([]int))
			return checkSpan("seq", from, to, step)
		},
		"repeat": func(args []reflect.Value) error {
			if n := integer(args[0]); n < 0 {
				return failf("repeat cannot write a string %d times", n)
			}
			return checkText("repeat", integer(args[0]), args[1].Len())
		},
		"replace": func(args []reflect.Value) error {
			return checkText("replace", strings.Count(args[2].String(), args[0].String()), args[1].Len()-args[0].Len())
		},
		"join": func(args []reflect.Value) error {
			length := 0
			for _, part := range toStrings(args[1].Interface()) {
				length += len(part) + args[0].Len()
			}
			return checkText("join", 1, length)
		},
	}
	for _, name := range []string{"indent", "nindent"} {
		checks[name] = func(args []reflect.Value) error {
			if n := integer(args[0]); n < 0 {
				return failf("%s cannot indent a string by %d spaces", name, n)
			}
			return checkText(name, strings.Count(args[1].String(), "\n")+1, integer(args[0]))
		}
	}
	for _, name := range []string{"randAlpha", "randAlphaNum", "randNumeric", "randAscii"} {
		checks[name] = func(args []reflect.Value) error { return checkText(name, 1, integer(args[0])) }
	}
	return checks
}

func integer(v reflect.Value) int { return int(v.Int()) }

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

// bounded returns fn so that it fails, before it runs, if check returns an error, and afterwards if its result exceeds maxText or
// maxList: a loop that doubles a string fills the memory in a few iterations. check may be nil.
func bounded(name string, fn any, check func(args []reflect.Value) error) any {
	v := reflect.ValueOf(fn)
	if kind := v.Type().Out(0).Kind(); kind != reflect.String && kind != reflect.Slice && name != "concat" {
		return fn
	}
	fail := func(err error) []reflect.Value {
		return []reflect.Value{reflect.Zero(v.Type().Out(0)), reflect.ValueOf(&err).Elem()}
	}
	return reflect.MakeFunc(withError(v.Type()), func(args []reflect.Value) []reflect.Value {
		if check != nil {
			if err := check(args); err != nil {
				return fail(err)
			}
		}
		results := call(v, args)
		if len(results) == 1 {
			results = append(results, reflect.Zero(errorType))
		}
		if err := checkResult(name, results[0]); err != nil && results[1].IsNil() {
			return fail(err)
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
