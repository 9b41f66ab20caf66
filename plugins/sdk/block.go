package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A Block is a sink's or a source's own part of the configuration, without its "type". Values are what TOML, YAML and JSON
// have in common: strings, booleans, whole and broken numbers, lists and nested maps.
type Block map[string]any

// A Fault is one thing that is wrong in a [Block].
type Fault struct {
	Key     string // with dots where it is nested; empty for the block as a whole
	Problem string
}

func (f Fault) String() string {
	if f.Key == "" {
		return f.Problem
	}
	return f.Key + " " + f.Problem
}

// Faults is everything that is wrong in a [Block], one line each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Decode fills the struct that into points to from block and reports everything that is wrong at once, as [Faults].
//
// A field takes the key in its json tag and keeps the value it had where the block lacks the key: that is how defaults are
// given. A key that no field takes is a fault which names the nearest known one. Text is accepted for a number or a boolean
// when it reads as one, because environment variables are text; a [time.Duration] is text such as "30s", and whatever
// implements [encoding.TextUnmarshaler] reads itself. See [CheckConfig] for the types that fields may have; another one is an
// error that is not Faults. Where the struct has a method Validate() error, it is asked last;
// errors that it joined become a fault each.
func Decode(block Block, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("cannot decode a configuration block into %T: it must be a pointer to a struct", into)
	}
	if err := CheckConfig(target.Elem().Interface()); err != nil {
		return err
	}
	d := decoder{}
	d.fill("", block, target.Elem())
	if len(d.faults) == 0 {
		if v, ok := into.(interface{ Validate() error }); ok {
			d.faults = append(d.faults, faultsOf(v.Validate())...)
		}
	}
	if len(d.faults) > 0 {
		return d.faults
	}
	return nil
}

func faultsOf(err error) Faults {
	if err == nil {
		return nil
	}
	if faults, ok := errors.AsType[Faults](err); ok {
		return faults
	}
	if rejection, ok := err.(*Rejection); ok { //nolint:errorlint // one that is wrapped is told with what is around it
		return Faults{{Problem: rejection.Error()}}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all Faults
		for _, e := range joined.Unwrap() {
			all = append(all, faultsOf(e)...)
		}
		return all
	}
	return Faults{{Problem: err.Error()}}
}
