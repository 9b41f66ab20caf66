package sourcemap

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestRecorder_OwnerIsInnermost(t *testing.T) {
	t.Parallel()
	r := NewRecorder(nil)
	check := func(service, id string) {
		t.Helper()
		gotService, inst := r.Owner()
		if gotService != service || (inst != nil) != (id != "") || inst != nil && inst.ID != id {
			t.Errorf("owner %q, %v, want %q, %q", gotService, inst, service, id)
		}
	}
	check("", "")
	r.EnterRange()
	check("", "")
	r.Iterate([]sdk.Instance{{Name: "web"}})
	check("web", "")
	r.EnterRange()
	r.Iterate("8080")
	check("web", "")
	r.EnterRange()
	r.Iterate(sdk.Instance{Name: "web", ID: "1"})
	check("web", "1")
	r.LeaveRange()
	check("web", "")
}

func TestRecorder_FilesHaveOriginsOfLines(t *testing.T) {
	t.Parallel()
	r := NewRecorder([]Position{{"a", 1, true}, {"a", 5, false}, {"b", 9, true}})
	write := func(node int, text string) {
		r.Node(node)
		r.Wrote([]byte(text))
	}
	write(0, "text\nof the template\n")
	r.Node(1)
	end := r.Include()
	write(2, "included\n")
	end()
	r.Wrote([]byte("INCLUDED\n")) // as many lines: another function has changed them
	r.Node(1)
	r.Wrote([]byte("value"))
	r.EndLine()
	r.EndFile()
	write(1, "other")
	r.EndFile()
	want := [][]Origin{
		{{Template: "a", Line: 1}, {Template: "a", Line: 2}, {Template: "b", Line: 9}, {Template: "a", Line: 5}, {}},
		{{Template: "a", Line: 5}},
	}
	if diff := cmp.Diff(want, r.Files()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
