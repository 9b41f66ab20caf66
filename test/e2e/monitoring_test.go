package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/templates"
)

const (
	monitoringDirectory = "../../examples/monitoring"
	runbook             = "https://github.com/haproxy-api/haproxy-api/blob/main/docs/operations.md#"
)

// monitoringTool returns the path of promtool or prometheus. A test that passes without them would prove nothing.
func monitoringTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(name + " is not installed: run 'make test', which installs it")
	}
	return path
}

func TestMonitoring_Promtool(t *testing.T) {
	t.Parallel()
	promtool := monitoringTool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "rules.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = monitoringDirectory
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// An alertRule is a rule of rules.yml.
type alertRule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alertRules(t testing.TB) []alertRule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	readYAML(t, "rules.yml", &file)
	return file.Groups[0].Rules
}

func readYAML(t testing.TB, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(monitoringDirectory, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func TestMonitoring_AlertsAreDocumented(t *testing.T) {
	t.Parallel()
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(operations), "\n## Alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(section, -1) {
		headings = append(headings, match[1])
	}
	var alerts []string
	for _, rule := range alertRules(t) {
		alerts = append(alerts, rule.Alert)
		if got, want := rule.Annotations["runbook_url"], runbook+strings.ToLower(rule.Alert); got != want {
			t.Errorf("%s has the runbook %s, want %s", rule.Alert, got, want)
		}
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s has the severity %q", rule.Alert, severity)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", rule.Alert)
		}
	}
	if !slices.Equal(alerts, headings) {
		t.Errorf("the section Alerts has the headings\n%q, want\n%q", headings, alerts)
	}
}

func TestMonitoring_AlertsAreTested(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "rules_test.yml", &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.Alertname] = true
			} else {
				quiet[c.Alertname] = true
			}
		}
	}
	for _, rule := range alertRules(t) {
		if !fires[rule.Alert] || !quiet[rule.Alert] {
			t.Errorf("%s: a test in which it fires: %v, one in which it does not: %v",
				rule.Alert, fires[rule.Alert], quiet[rule.Alert])
		}
	}
}

// dashboardExpressions returns the expressions of the dashboard by the title of their panel, for a Prometheus that scrapes each
// second.
func dashboardExpressions(t testing.TB) map[string][]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(monitoringDirectory, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title      string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "30s", "$job", "haproxy-api", "$instance", ".*", "$pipeline", ".*")
	expressions := map[string][]string{}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if panel.Datasource.UID != "${datasource}" {
				t.Errorf("panel %s has the data source %s", panel.Title, panel.Datasource.UID)
			}
			expression := variables.Replace(target.Expr)
			if strings.Contains(expression, "$") {
				t.Errorf("panel %s has an unknown variable: %s", panel.Title, expression)
			}
			expressions[panel.Title] = append(expressions[panel.Title], expression)
		}
	}
	if len(expressions) < 20 {
		t.Fatalf("only %d panels were found", len(expressions))
	}
	return expressions
}

// A prometheusServer is a Prometheus process that scrapes a daemon.
type prometheusServer struct {
	env *testEnv
	url string
}

// startPrometheus runs Prometheus with the configuration and the rules of the example, until the end of the test.
func (env *testEnv) startPrometheus(args ...string) *prometheusServer {
	env.t.Helper()
	program := monitoringTool(env.t, "prometheus")
	directory := env.t.TempDir()
	for _, name := range []string{"prometheus.yml", "rules.yml"} {
		content, err := os.ReadFile(filepath.Join(monitoringDirectory, name))
		if err != nil {
			env.t.Fatal(err)
		}
		text := strings.NewReplacer("localhost:7778", env.apiAddress, "_interval: 15s", "_interval: 1s").Replace(string(content))
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o644); err != nil {
			env.t.Fatal(err)
		}
	}
	address := net.JoinHostPort(freshIP(), "9090")
	log := &logFile{}
	cmd := exec.Command(program, append([]string{
		"--config.file=" + filepath.Join(directory, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(directory, "data"),
		"--web.listen-address=" + address, "--log.level=warn",
	}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		env.t.Fatal(err)
	}
	env.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if env.t.Failed() {
			env.t.Logf("the log of Prometheus:\n%s", log)
		}
	})
	return &prometheusServer{env, "http://" + address}
}

// get decodes the data of an answer of Prometheus' API, and returns its error.
func (p *prometheusServer) get(path string, query url.Values, data any) error {
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

// query returns how many series the expression has now.
func (p *prometheusServer) query(expression string) (int, error) {
	var data struct{ Result []any }
	err := p.get("/api/v1/query", url.Values{"query": {expression}}, &data)
	return len(data.Result), err
}

// waitData waits until the expression has data.
func (p *prometheusServer) waitData(expression string) {
	p.env.t.Helper()
	p.env.eventually("Prometheus has data for "+expression, func() bool {
		n, err := p.query(expression)
		return err == nil && n > 0
	})
}

// names returns the names of all metrics.
func (p *prometheusServer) names() []string {
	p.env.t.Helper()
	var names []string
	if err := p.get("/api/v1/label/__name__/values", nil, &names); err != nil {
		p.env.t.Error(err)
	}
	return names
}

// alertStates returns the state of each alert, and "unhealthy" for one that cannot be evaluated.
func (p *prometheusServer) alertStates() map[string]string {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State, Health string }
		}
	}
	states := map[string]string{}
	if p.get("/api/v1/rules", nil, &data) != nil {
		return states
	}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			states[rule.Name] = rule.State
			if rule.Health != "ok" {
				states[rule.Name] = "unhealthy"
			}
		}
	}
	return states
}

var (
	metricName      = regexp.MustCompile(`\b(haproxy_api_\w+|go_\w+|process_\w+|up)\b`)
	nativeHistogram = regexp.MustCompile(`haproxy_api_(convergence|apply|render)_seconds\b`)
	quoted          = regexp.MustCompile(`"[^"]*"`)
)

// The dashboard and the alert rules use only metrics that the daemon has, and Prometheus can evaluate them, with classic and with
// native histograms.
func TestMonitoring_Prometheus(t *testing.T) {
	t.Parallel()
	monitoringTool(t, "prometheus")
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "50ms"`)
	env.write("haproxy.tmpl", string(templates.Builtin()))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	classic := env.startPrometheus()
	native := env.startPrometheus("--enable-feature=native-histograms")
	env.startInstance("web", "b", 8000) // a runtime change
	classic.waitData(`haproxy_api_pipeline_in_sync == 1`)
	native.waitData(`histogram_count(haproxy_api_convergence_seconds) > 0`)
	native.waitData(`histogram_quantile(0.5, haproxy_api_apply_seconds)`)

	var rules []string
	for _, rule := range alertRules(t) {
		rules = append(rules, rule.Expr)
	}
	known := append(classic.names(), native.names()...)
	wantKnown := func(where, expression string) {
		t.Helper()
		for _, name := range metricName.FindAllString(quoted.ReplaceAllString(expression, ""), -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s uses the unknown metric %s", where, name)
			}
		}
	}
	for _, expression := range rules {
		wantKnown("a rule", expression)
		for _, p := range []*prometheusServer{classic, native} {
			if _, err := p.query(expression); err != nil {
				t.Errorf("%s: %v", expression, err)
			}
		}
	}
	for panel, expressions := range dashboardExpressions(t) {
		for _, expression := range expressions {
			wantKnown("panel "+panel, expression)
			isClassic, isNative := strings.Contains(expression, "_seconds_bucket"), nativeHistogram.MatchString(expression)
			if isClassic || !isNative {
				classic.waitData(expression)
			}
			if isNative || !isClassic {
				native.waitData(expression)
			}
		}
	}

	env.eventually("no alert is active", func() bool {
		states := classic.alertStates()
		for _, state := range states {
			if state != "inactive" {
				return false
			}
		}
		return len(states) == len(rules)
	})
	env.write("haproxy.tmpl", "{{ broken")
	env.eventually("the refused template is an alert", func() bool {
		return classic.alertStates()["HAProxyAPITemplateRefused"] == "pending"
	})
	classic.waitData(`haproxy_api_template_errors_total == 1`)
	env.kill()
	env.eventually("the daemon that is gone is an alert", func() bool {
		return classic.alertStates()["HAProxyAPIDown"] == "pending"
	})
}

// The series of pipelines, sources and plugins appear and disappear with the configuration, also those of a plugin that keeps
// ending.
func TestMetrics_FollowConfiguration(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	without := env.read("haproxy-api.toml")
	env.addPipelines("exit 1")
	with := env.read("haproxy-api.toml") + fmt.Sprintf("[sources.more]\ntype = \"file\"\npath = %q\n", env.path("services.yaml"))
	env.write("services.yaml", "{}")
	env.write("haproxy-api.toml", with)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	wantSeries := func(series ...string) {
		t.Helper()
		env.eventually("the configured components have series", func() bool {
			body, err := get("http://" + env.apiAddress + "/metrics")
			return err == nil && !slices.ContainsFunc(series, func(s string) bool { return !strings.Contains(body, s) })
		})
	}
	names := []string{
		`haproxy_api_applies_total{action="written",outcome="applied",pipeline="names"}`,
		`haproxy_api_generation{pipeline="names"}`,
	}
	wantSeries(append(names, `haproxy_api_applies_total{action="none",outcome="failed",pipeline="other"}`,
		`haproxy_api_plugin_restarts_total{plugin="other"}`, `haproxy_api_source_up{source="more"}`)...)
	env.write("haproxy-api.toml", without)
	removed := regexp.MustCompile(`"(names|other|more)"`)
	env.eventually("the removed ones have none", func() bool {
		body, err := get("http://" + env.apiAddress + "/metrics")
		return err == nil && strings.Contains(body, `haproxy_api_generation{pipeline="haproxy"}`) && !removed.MatchString(body)
	})
	withNames, _, _ := strings.Cut(with, "[sinks.other]")
	env.write("haproxy-api.toml", withNames)
	wantSeries(names...)
	env.stop()
}

// The facts of the HAProxy sink are metrics: HAProxy that is killed is counted, and so is a file that somebody else has edited.
func TestMetrics_HAProxy(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	want := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			name, _, _ := strings.Cut(line, " ")
			env.eventually("the metric "+line, func() bool { return env.metric(name) == line })
		}
	}
	const labels = `{pipeline="haproxy"} `
	want("haproxy_api_haproxy_up"+labels+"1", "haproxy_api_haproxy_restarts_total"+labels+"0",
		"haproxy_api_haproxy_old_workers"+labels+"0", "haproxy_api_drift_repairs_total"+labels+"0",
		"haproxy_api_persist_pending"+labels+"0")
	if err := syscall.Kill(env.masterPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want("haproxy_api_haproxy_restarts_total"+labels+"1", "haproxy_api_haproxy_up"+labels+"1")
	env.waitAnswer(8000, "a")
	env.waitInSync()
	env.write(env.config, env.read(env.config)+"\n# edited\n")
	want("haproxy_api_drift_repairs_total" + labels + "1")
	env.stop()
}
