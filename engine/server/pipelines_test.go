package server

import (
	"encoding/json"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type mistake struct{}

func (mistake) Error() string  { return "a.cfg:1:4: no; do" }
func (mistake) Detail() string { return "a.cfg:1:4: no\n   ^\n = do" }

// What is wrong with a template, and where it varies, is told in full.
func TestTemplateInAPI(t *testing.T) {
	answer, err := json.Marshal(describe(engine.PipelineStatus{
		Name: "p", TemplateError: &engine.TemplateError{Err: mistake{}}, Volatile: []string{"a.cfg:2: now"},
	}, sdk.Health{}))
	want := `{"name":"p","source":"","generation":0,"problems":[],"template_error":"a.cfg:1:4: no; do",` +
		`"template_error_detail":"a.cfg:1:4: no\n   ^\n = do","volatile":["a.cfg:2: now"]}`
	if err != nil || string(answer) != want {
		t.Errorf("%s, %v, want %s", answer, err, want)
	}
}
