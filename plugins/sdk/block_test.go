package sdk

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type blockConfig struct {
	Path     string         `json:"path"`
	Count    int            `json:"count"`
	Port     int16          `json:"port"`
	Ratio    float64        `json:"ratio"`
	On       bool           `json:"on"`
	Wait     time.Duration  `json:"wait"`
	Args     []string       `json:"args"`
	Env      map[string]int `json:"env"`
	Nested   nestedConfig   `json:"nested"`
	Anything any            `json:"anything"`
	From     netip.Addr     `json:"from"`
	NotKeyed string
}

type nestedConfig struct {
	Deep string `json:"deep"`
}

func (c blockConfig) Validate() error {
	var err error
	if c.Path == "bad" {
		err = errors.Join(errors.New("path is bad"), errors.New("and so is all else"))
	}
	return err
}

func TestDecode(t *testing.T) {
	got := blockConfig{Path: "kept", Count: 7}
	err := Decode(Block{
		"port": int64(80), "ratio": 0.5, "on": true, "wait": "1m30s",
		"args": []any{"a", "b"}, "env": map[string]any{"x": float64(3)},
		"nested": map[string]any{"deep": "d"}, "anything": []any{"z"}, "from": "10.0.0.1",
	}, &got)
	if err != nil {
		t.Fatal(err)
	}
	want := blockConfig{
		Path: "kept", Count: 7, Port: 80, Ratio: 0.5, On: true, Wait: 90 * time.Second,
		Args: []string{"a", "b"}, Env: map[string]int{"x": 3}, Nested: nestedConfig{"d"}, Anything: []any{"z"},
		From: netip.MustParseAddr("10.0.0.1"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecode_TextOfEnvironmentVariables(t *testing.T) {
	var got blockConfig
	err := Decode(Block{"count": "12", "on": "true", "ratio": "0.25", "args": "a,b", "port": json.Number("9")}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Count != 12 || !got.On || got.Ratio != 0.25 || got.Port != 9 || !cmp.Equal(got.Args, []string{"a", "b"}) {
		t.Errorf("got %+v", got)
	}
}

func TestDecode_ReportsEveryFault(t *testing.T) {
	var c blockConfig
	err := Decode(Block{
		"paht": "x", "count": 1.5, "port": 70000, "on": "perhaps", "wait": 30, "args": map[string]any{}, "env": "x",
		"nested": map[string]any{"dep": 1}, "from": "nowhere", "ratio": nil, "zzzzzzzzzzzz": 1,
	}, &c)
	want := []string{
		`args must be a list, not a table`,
		`count must be a whole number, not 1.5`,
		`env must be a table, not "x"`,
		`from is "nowhere": ParseAddr("nowhere"): unable to parse IP`,
		`nested.dep is not a known key; did you mean nested.deep?`,
		`on must be true or false, not "perhaps"`,
		`paht is not a known key; did you mean path?`,
		`port is out of range: 70000`,
		`ratio must be a number, not nothing`,
		`wait must be a duration such as "30s", not 30`,
		`zzzzzzzzzzzz is not a known key; known are anything, args, count, env, from, nested, on, path, port, ratio, wait`,
	}
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("got %v, want Faults", err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecode_FaultsContainNoSecret(t *testing.T) {
	var c struct {
		Password string         `json:"password"`
		APIKey   int            `json:"api_key"`
		Tokens   map[string]int `json:"tokens"`
	}
	err := Decode(Block{"password": 31337, "api_key": "s31337", "tokens": map[string]any{"one": "31337"[:4] + "x"}}, &c)
	want := "api_key must be a whole number, not what it is\npassword must be text, not what it is\n" +
		"tokens.one must be a whole number, not what it is"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestDecode_CallsValidate(t *testing.T) {
	var c blockConfig
	err := Decode(Block{"path": "bad"}, &c)
	want := Faults{{Problem: "path is bad"}, {Problem: "and so is all else"}}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"path":"x","count":1,"nested":{"deep":"d"},"env":{"a":2},"args":["x"],"wait":"1s"}`))
	f.Add([]byte(`{"path":null,"args":[[]],"env":{"a":{}},"from":""}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		var block Block
		if json.Unmarshal(content, &block) != nil {
			return
		}
		var c blockConfig
		if err := Decode(block, &c); err != nil {
			if _, ok := errors.AsType[Faults](err); !ok {
				t.Errorf("%v is not Faults", err)
			}
		}
	})
}
