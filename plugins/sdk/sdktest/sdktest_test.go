package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// fault is an environment variable that says what the plugin that this binary becomes does wrong.
const fault = "SDKTEST_FAULT"

func TestMain(m *testing.M) {
	switch os.Getenv("SDKTEST_PLUGIN") {
	case "sink":
		serveSink()
	case "source":
		serve.Source(sdk.Info{Name: "lines", Version: "1"}, sourceConfig{}, openLines)
	default:
		goleak.VerifyTestMain(m)
	}
}

type sinkConfig struct {
	Folder string `json:"folder"`
}

// serveSink is a sink that writes what it is offered into a file, rightly or with the fault.
func serveSink() {
	switch os.Getenv(fault) {
	case "not a plugin":
		fmt.Println("hello")
		return
	case "exits at start":
		os.Exit(7)
	case "hangs when it is attached":
		serveHanging()
		return
	case "cannot decode its own keys":
		type config struct {
			Folder chan string `json:"folder"`
		}
		serve.Sink(sdk.Info{}, config{}, func(context.Context, sdk.Env, config) (sdk.Sink, error) { return &note{}, nil })
		return
	case "takes any key":
		serve.Sink(sdk.Info{Name: "note", Version: "1"}, map2{}, func(context.Context, sdk.Env, map2) (sdk.Sink, error) {
			return &note{path: filepath.Join(os.Getenv("SDKTEST_FOLDER"), "note")}, nil
		})
		return
	}
	info := sdk.Info{Name: "note", Version: "1"}
	if os.Getenv(fault) == "nameless" {
		info = sdk.Info{}
	}
	serve.Sink(info, sinkConfig{}, func(_ context.Context, _ sdk.Env, cfg sinkConfig) (sdk.Sink, error) {
		return &note{path: filepath.Join(cfg.Folder, "note")}, nil
	})
	if what := os.Getenv(fault); what == "outlives its daemon" || what == "lingers when told to end" {
		time.Sleep(time.Minute)
	}
}

// map2 takes every key that the checks use, which no honest plugin does.
type map2 struct {
	Folder string `json:"folder"`
	Any    bool   `json:"no_plugin_has_this_key"`
}

type note struct{ path string }

func (n *note) Apply(_ context.Context, doc sdk.Document) (sdk.Result, error) {
	content := doc.Files[0].Content
	before, _ := os.ReadFile(n.path)
	switch what := os.Getenv(fault); {
	case what == "dies of large documents" && len(content) > 1<<20:
		os.Exit(9)
	case what == "hangs after a cancellation":
		if _, err := os.Stat(n.path + ".hung"); err != nil && string(content) == "first" && string(before) == "second" {
			_ = os.WriteFile(n.path+".hung", nil, 0o600) // once is enough
			select {}
		}
	case what == "takes everything":
	case strings.HasPrefix(string(content), "bad"):
		if what == "does not mark rejections" {
			return sdk.Result{}, errors.New("this will not do")
		}
		if what == "loses what was in effect" {
			_ = os.Remove(n.path)
		}
		return sdk.Result{}, sdk.Rejectf("this will not do")
	}
	if string(before) == string(content) && os.Getenv(fault) != "forgets" {
		return sdk.Result{Action: sdk.ActionUnchanged}, nil
	}
	if err := os.WriteFile(n.path, content, 0o600); err != nil {
		return sdk.Result{}, err
	}
	if os.Getenv(fault) == "invents actions" {
		return sdk.Result{Action: "done"}, nil
	}
	return sdk.Result{Action: sdk.ActionWritten}, nil
}

func (n *note) Check(ctx context.Context, doc sdk.Document) error {
	switch os.Getenv(fault) {
	case "checks nothing":
		return nil
	case "applies what it checks":
		_, err := n.Apply(ctx, doc)
		return err
	}
	if strings.HasPrefix(string(doc.Files[0].Content), "bad") {
		return sdk.Rejectf("this will not do")
	}
	return nil
}

func (n *note) Health(context.Context) (sdk.Health, error) {
	switch os.Getenv(fault) {
	case "is never healthy":
		return sdk.Health{Problems: []string{"I feel sick"}}, nil
	case "is silent about its health":
		select {}
	}
	return sdk.Health{}, nil
}

func sinkWith(t *testing.T, wrong string) Sink {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	return Sink{
		Program: Program{
			patience: patienceFor(wrong),
			Path:     self, Env: []string{"SDKTEST_PLUGIN=sink", fault + "=" + wrong, "SDKTEST_FOLDER=" + folder},
			Block: sdk.Block{"folder": folder},
		},
		Good: [2]string{"first", "second"}, Bad: "bad", large: largeFor(wrong),
	}
}

// patienceFor and largeFor are the kit's own for a right plugin. A wrong one is not worth that time.
func patienceFor(wrong string) time.Duration {
	if wrong == "" {
		return 0
	}
	return 3 * time.Second
}

func largeFor(wrong string) int {
	if wrong == "" {
		return 0
	}
	return 2 << 20
}

func TestARightSinkPasses(t *testing.T) { TestSink(t, sinkWith(t, "")) }

func TestEveryFaultOfASinkIsNamed(t *testing.T) {
	for wrong, check := range map[string]string{
		"not a plugin":               "starts and accepts its configuration",
		"exits at start":             "starts and accepts its configuration",
		"nameless":                   "says its name and version",
		"takes any key":              "refuses unknown keys",
		"forgets":                    "knows a document that is in effect",
		"invents actions":            "takes a document",
		"is never healthy":           "is healthy then",
		"is silent about its health": "answers health before the first document",
		"takes everything":           "rejects what it cannot use",
		"does not mark rejections":   "rejects what it cannot use",
		"loses what was in effect":   "keeps what was in effect after a rejection",
		"hangs after a cancellation": "stops when it is cancelled, and takes a newer document",
		"checks nothing":             "checks a document without making it live",
		"applies what it checks":     "checks a document without making it live",
		"hangs when it is attached":  "starts and accepts its configuration",
		"cannot decode its own keys": "starts and accepts its configuration",
		"dies of large documents":    "survives a large document",
		"outlives its daemon":        "ends with its daemon",
		"lingers when told to end":   "ends when it is told to",
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			var failed []string
			passed := CheckSink(t.Context(), sinkWith(t, wrong), func(f Finding) {
				if f.Err != nil {
					failed = append(failed, f.Check)
					t.Log(f)
				}
			})
			if passed || !slices.Contains(failed, check) {
				t.Errorf("failed %q, want %q among them", failed, check)
			}
		})
	}
}

type sourceConfig struct {
	Path string `json:"path"`
}

// lines is a source that reads a JSON list of instances from a file, again and again.
type lines struct{ path string }

func openLines(_ context.Context, _ sdk.Env, cfg sourceConfig) (sdk.Source, error) {
	return &lines{cfg.Path}, nil
}

func (l *lines) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	var before sdk.Snapshot
	for first := true; ; first = false {
		content, err := os.ReadFile(l.path)
		if err != nil {
			return err
		}
		var instances []sdk.Instance
		if err := json.Unmarshal(content, &instances); err != nil {
			return err
		}
		snap := sdk.Snapshot{Taken: time.Now(), Services: sdk.GroupByName(instances)}
		what := os.Getenv(fault)
		if first && what != "says nothing" || !first && !snapshots.Equal(snap, before) && what != "is deaf" {
			emit(snap)
		}
		before = snap
		select {
		case <-ctx.Done():
			if os.Getenv(fault) == "does not end its watch" {
				return errors.New("I do not like to end")
			}
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func sourceWith(t *testing.T, wrong string) Source {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "list.json")
	save := func(content string) error {
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	id := "1"
	if wrong == "forgets ids" {
		id = ""
	}
	if err := save(fmt.Sprintf(`[{"Name":"web","Hostname":"h","ID":%q}]`, id)); err != nil {
		t.Fatal(err)
	}
	return Source{
		Program: Program{
			patience: patienceFor(wrong),
			Path:     self, Env: []string{"SDKTEST_PLUGIN=source", fault + "=" + wrong}, Block: sdk.Block{"path": path},
		},
		Change: func(context.Context) error { return save(`[]`) },
	}
}

func TestARightSourcePasses(t *testing.T) { TestSource(t, sourceWith(t, "")) }

func TestEveryFaultOfASourceIsNamed(t *testing.T) {
	for wrong, check := range map[string]string{
		"says nothing": "emits what it knows at once",
		"is deaf":      "emits again after a change",
		"forgets ids":  "has a name, a host and an id for every instance",
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			var failed []string
			CheckSource(t.Context(), sourceWith(t, wrong), func(f Finding) {
				if f.Err != nil {
					failed = append(failed, f.Check)
				}
			})
			if !slices.Contains(failed, check) {
				t.Errorf("failed %q, want %q among them", failed, check)
			}
		})
	}
}

func TestAFindingIsOneLine(t *testing.T) {
	for want, f := range map[string]Finding{
		"ok    sings":          {Check: "sings"},
		"FAIL  sings: hoarse":  {Check: "sings", Err: errors.New("hoarse")},
		"skip  sings: no song": {Check: "sings", Skipped: "no song"},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
