package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A Block is the part of the configuration that belongs to a sink or a source, without its "type". Its values are what TOML,
// YAML and JSON have in common: strings, booleans, numbers, lists and nested maps.
type Block map[string]any

// A Fault is one problem in a [Block].
type Fault struct {
	Key     string // with dots for nested keys; empty for the block as a whole
	Problem string
}

func (f Fault) String() string {
	if f.Key == "" {
		return f.Problem
	}
	return f.Key + " " + f.Problem
}

// Faults are all problems in a [Block]. The error text has one line for each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Decode sets the fields of the struct that into points to from block. It returns all problems at once, as [Faults].
//
// The key of a field is in its json tag. A field whose key is missing in block keeps its value, which is how defaults are
// set. A key without a field is a fault that names the most similar known key. Numbers and booleans may be text, as
// environment variables are. A [time.Duration] is text such as "30s", and an [encoding.TextUnmarshaler] gets the text.
// [CheckConfig] lists the types that fields may have; for other types Decode returns an error that is not Faults. If the
// struct has a method Validate() error and there are no other faults, Decode calls it; each error that it joins is a fault.
func Decode(block Block, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("cannot decode a configuration block into %T: it must be a pointer to a struct", into)
	}
	if err := CheckConfig(target.Elem().Interface()); err != nil {
		return err
	}
	d := decoder{}
	d.decodeFields("", block, target.Elem())
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

// faultsOf returns one fault for each error that is joined in err.
func faultsOf(err error) Faults {
	if err == nil {
		return nil
	}
	if faults, ok := errors.AsType[Faults](err); ok {
		return faults
	}
	if rejection, ok := err.(*Rejection); ok { //nolint:errorlint // the text around a wrapped one is part of the fault
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
