package engine

import (
	"errors"
	"fmt"
	"testing"
)

type detailedError struct{ name string }

func (e *detailedError) Error() string  { return e.name }
func (e *detailedError) Detail() string { return e.name + "\n  ^" }

func TestDetail(t *testing.T) {
	a, b := &detailedError{"a:1: no"}, &detailedError{"b:2: no"}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"plain":              {errors.New("plain"), "plain"},
		"itself":             {a, "a:1: no\n  ^"},
		"wrapped":            {fmt.Errorf("pipeline p: %w", &TemplateError{a}), "pipeline p: a:1: no\n  ^"},
		"several":            {errors.Join(a, errors.New("x"), b), "a:1: no\n  ^\nx\nb:2: no\n  ^"},
		"several in one":     {fmt.Errorf("%w, and %w", a, b), "a:1: no\n  ^, and b:2: no\n  ^"},
		"the same one twice": {errors.Join(a, a), "a:1: no\n  ^\na:1: no\n  ^"},
	} {
		if got := Detail(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
