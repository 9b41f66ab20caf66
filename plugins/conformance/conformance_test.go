package conformance

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

// faultVariable is an environment variable that says what the plugin that this binary becomes does fault.
const faultVariable = "CONFORMANCE_FAULT"

func TestMain(m *testing.M) {
	switch os.Getenv("CONFORMANCE_PLUGIN") {
	case "sink":
		serveSink()
	case "source":
		serve.Source(sdk.Info{Name: "lines", Version: "1"}, sourceConfig{}, openLines)
	default:
		goleak.VerifyTestMain(m)
	}
}

type sinkConfig struct {
	Directory string `json:"directory"`
}

// serveSink serves a sink that writes documents to a file, with the fault that the environment names.
func serveSink() {
	switch os.Getenv(faultVariable) {
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
			Directory chan string `json:"directory"`
		}
		serve.Sink(sdk.Info{}, config{}, func(context.Context, sdk.Env, config) (sdk.Sink, error) { return &note{}, nil })
		return
	case "accepts any key":
		info := sdk.Info{Name: "note", Version: "1"}
		serve.Sink(info, anyKeyConfig{}, func(context.Context, sdk.Env, anyKeyConfig) (sdk.Sink, error) {
			return &note{path: filepath.Join(os.Getenv("CONFORMANCE_DIRECTORY"), "note")}, nil
		})
		return
	}
	info := sdk.Info{Name: "note", Version: "1"}
	if os.Getenv(faultVariable) == "has no name" {
		info = sdk.Info{}
	}
	serve.Sink(info, sinkConfig{}, func(_ context.Context, _ sdk.Env, cfg sinkConfig) (sdk.Sink, error) {
		return &note{path: filepath.Join(cfg.Directory, "note")}, nil
	})
	if what := os.Getenv(faultVariable); what == "outlives its daemon" || what == "does not end on Stop" {
		time.Sleep(time.Minute)
	}
}

// anyKeyConfig accepts every key that the checks use.
type anyKeyConfig struct {
	Directory string `json:"directory"`
	Any       bool   `json:"no_plugin_has_this_key"`
}

type note struct{ path string }

func (n *note) Apply(_ context.Context, doc sdk.Document) (sdk.Result, error) {
	content := doc.Files[0].Content
	before, _ := os.ReadFile(n.path)
	switch what := os.Getenv(faultVariable); {
	case what == "exits on large documents" && len(content) > 1<<20:
		os.Exit(9)
	case what == "hangs after a cancellation":
		if _, err := os.Stat(n.path + ".hung"); err != nil && string(content) == "first" && string(before) == "second" {
			_ = os.WriteFile(n.path+".hung", nil, 0o600) // only once
			select {}
		}
	case what == "accepts any document":
	case strings.HasPrefix(string(content), "bad"):
		if what == "does not mark rejections" {
			return sdk.Result{}, errors.New("line 1 is wrong")
		}
		if what == "loses the previous document" {
			_ = os.Remove(n.path)
		}
		return sdk.Result{}, sdk.Rejectf("line 1 is wrong")
	}
	if string(before) == string(content) && os.Getenv(faultVariable) != "forgets the document" {
		return sdk.Result{Action: sdk.ActionUnchanged}, nil
	}
	if err := os.WriteFile(n.path, content, 0o600); err != nil {
		return sdk.Result{}, err
	}
	if os.Getenv(faultVariable) == "invents actions" {
		return sdk.Result{Action: "done"}, nil
	}
	return sdk.Result{Action: sdk.ActionWritten}, nil
}

func (n *note) Check(ctx context.Context, doc sdk.Document) error {
	switch os.Getenv(faultVariable) {
	case "checks nothing":
		return nil
	case "applies what it checks":
		_, err := n.Apply(ctx, doc)
		return err
	}
	if strings.HasPrefix(string(doc.Files[0].Content), "bad") {
		return sdk.Rejectf("line 1 is wrong")
	}
	return nil
}

func (n *note) Health(context.Context) (sdk.Health, error) {
	switch os.Getenv(faultVariable) {
	case "is never healthy":
		return sdk.Health{Problems: []string{"the disk is full"}}, nil
	case "does not report its health":
		select {}
	}
	return sdk.Health{}, nil
}

func (n *note) Servers(context.Context) ([]sdk.Server, error) {
	switch os.Getenv(faultVariable) {
	case "hangs when it is asked for servers":
		select {}
	case "reports servers without a status":
		return []sdk.Server{{Name: "one"}}, nil
	}
	return []sdk.Server{{Name: "one", Status: "UP"}}, nil
}

func sinkWith(t *testing.T, fault string) Sink {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	return Sink{
		Program: Program{
			timeout: timeoutFor(fault),
			Path:    self,
			Env: []string{
				"CONFORMANCE_PLUGIN=sink", faultVariable + "=" + fault, "CONFORMANCE_DIRECTORY=" + directory,
			},
			Block: sdk.Block{"directory": directory},
		},
		Good: [2]string{"first", "second"}, Bad: "bad", large: largeFor(fault),
	}
}

// timeoutFor and largeFor return the usual values for a correct plugin, and smaller ones for a faulty plugin to save time.
func timeoutFor(fault string) time.Duration {
	if fault == "" {
		return 0
	}
	return 3 * time.Second
}

func largeFor(fault string) int {
	if fault == "" {
		return 0
	}
	return 2 << 20
}

// expectPassed fails the test for each finding that reports a fault.
func expectPassed(t *testing.T) func(Finding) {
	return func(f Finding) {
		if f.Err != nil || f.Skipped != "" {
			t.Error(f)
		}
	}
}

func TestCheckSink_CorrectPlugin(t *testing.T) {
	if !CheckSink(t.Context(), sinkWith(t, ""), expectPassed(t)) {
		t.Error("a check failed")
	}
}

func TestCheckSink_FaultyPlugin(t *testing.T) {
	for fault, check := range map[string]string{
		"not a plugin":                       "starts and accepts its configuration",
		"exits at start":                     "starts and accepts its configuration",
		"has no name":                        "reports its name and version",
		"accepts any key":                    "rejects unknown keys",
		"forgets the document":               "recognizes the document in effect",
		"invents actions":                    "applies a document",
		"is never healthy":                   "is healthy after it applied a document",
		"does not report its health":         "reports its health before the first document",
		"accepts any document":               "rejects a bad document",
		"does not mark rejections":           "rejects a bad document",
		"loses the previous document":        "keeps the previous document after a rejection",
		"hangs after a cancellation":         "stops when it is cancelled, and applies a newer document",
		"checks nothing":                     "checks a document without applying it",
		"applies what it checks":             "checks a document without applying it",
		"hangs when it is asked for servers": "reports the servers of its program",
		"reports servers without a status":   "reports the servers of its program",
		"hangs when it is attached":          "starts and accepts its configuration",
		"cannot decode its own keys":         "starts and accepts its configuration",
		"exits on large documents":           "survives a large document",
		"outlives its daemon":                "ends with its daemon",
		"does not end on Stop":               "ends on Stop",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			var failed []string
			passed := CheckSink(t.Context(), sinkWith(t, fault), func(f Finding) {
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

// lines is a source that polls a file with a JSON list of instances.
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
		what := os.Getenv(faultVariable)
		if first && what != "emits nothing" || !first && !snapshots.Equal(snap, before) && what != "emits no change" {
			emit(snap)
		}
		before = snap
		select {
		case <-ctx.Done():
			if os.Getenv(faultVariable) == "does not end its watch" {
				return errors.New("ended with an error")
			}
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (l *lines) Health(context.Context) (sdk.Health, error) {
	if os.Getenv(faultVariable) == "emits nothing" {
		return sdk.Health{Problems: []string{unreachable}}, nil
	}
	return sdk.Health{}, nil
}

// unreachable is the problem of a source that emits nothing.
const unreachable = "the registry is not reachable"

func sourceWith(t *testing.T, fault string) Source {
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
	if fault == "omits ids" {
		id = ""
	}
	if err := save(fmt.Sprintf(`[{"Name":"web","Hostname":"h","ID":%q}]`, id)); err != nil {
		t.Fatal(err)
	}
	return Source{
		Program: Program{
			timeout: timeoutFor(fault),
			Path:    self, Env: []string{"CONFORMANCE_PLUGIN=source", faultVariable + "=" + fault},
			Block: sdk.Block{"path": path},
		},
		Change: func(context.Context) error { return save(`[]`) },
	}
}

func TestCheckSource_CorrectPlugin(t *testing.T) {
	if !CheckSource(t.Context(), sourceWith(t, ""), expectPassed(t)) {
		t.Error("a check failed")
	}
}

func TestCheckSource_FaultyPlugin(t *testing.T) {
	for fault, check := range map[string]string{
		"emits nothing":   "emits a snapshot at once",
		"emits no change": "emits a snapshot after a change",
		"omits ids":       "sets name, hostname and id of every instance",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			var failed []string
			CheckSource(t.Context(), sourceWith(t, fault), func(f Finding) {
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

// The problem that the source reports is the reason of the finding. Checks that need a snapshot are not made after it.
func TestCheckSource_ReportsProblem(t *testing.T) {
	t.Parallel()
	source := sourceWith(t, "emits nothing")
	source.timeout = 10 * time.Second // the source is asked several times
	waiting := ""
	source.OnProblem = func(problems string) { waiting = problems }
	found := map[string]Finding{}
	CheckSource(t.Context(), source, func(f Finding) { found[f.Check] = f })
	if err := found["emits a snapshot at once"].Err; err == nil || !strings.Contains(err.Error(), unreachable) {
		t.Errorf("got %v", err)
	}
	if waiting != unreachable {
		t.Errorf("while waiting: %q", waiting)
	}
	for _, check := range []string{
		"sets name, hostname and id of every instance", "emits a snapshot after a change", "ends with its daemon",
		"emits a snapshot again after its watch was ended", "emits snapshots after it was killed",
	} {
		if f := found[check]; f.Skipped == "" || f.Err != nil {
			t.Errorf("got %v", f)
		}
	}
}

func TestFindingString(t *testing.T) {
	for want, f := range map[string]Finding{
		"ok    starts":               {Check: "starts"},
		"FAIL  starts: exit 1":       {Check: "starts", Err: errors.New("exit 1")},
		"skip  starts: no such file": {Check: "starts", Skipped: "no such file"},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
