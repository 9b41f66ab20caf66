package process

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCheckArgs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.cfg", "a.cfg", ".hidden.cfg", "other"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, test := range []struct{ args, want string }{
		{"-W -D -S m,mode,600 -f a.cfg -p x.pid", "-c -W -f new"},
		{"-Ws -f a.cfg", "-c -Ws -f new"},
		{"-f b.cfg -- a.cfg other", "-c -f " + at("b.cfg") + " -f new -f " + at("other")},
		{"-f .", "-c -f new -f " + at("b.cfg")},
		{"-dr -dW -n 5 -m 6 -N 7 -L peer -q -V -db -d -C / -f a.cfg", "-c -dr -dW -n 5 -m 6 -N 7 -L peer -f new"},
		{"-f a.cfg -sf 1 2 -x s -W", "-c -f new -W"},
	} {
		i := Invocation{Args: withoutReplaced(strings.Fields(test.args)), Dir: dir}
		got := i.checkArgs(map[string]string{at("a.cfg"): "new"})
		if want := strings.Fields(test.want); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", test.args, got, want)
		}
	}
}
