package syntax

import (
	"fmt"
	"testing"
)

// needs returns whether a change needs a reload, a change of servers at run time, or nothing.
func needs(before, after string) string {
	was := Parse([]byte(before), nil)
	switch c := Compare(was, Parse([]byte(after), was)); {
	case c.Reload != "":
		return "reload"
	case len(c.Servers) > 0:
		return fmt.Sprint("runtime ", c.Servers)
	default:
		return "nothing"
	}
}

const (
	serverX = " server x 127.0.0.1:1\n"
	serverY = " server y 127.0.0.1:2\n"
)

// Each line is tried in a frontend and in the backend app, from which the server x is removed and to which z is added.
func TestReferences_Servers(t *testing.T) {
	const runtime = "runtime [app]"
	for _, test := range []struct{ name, frontend, backend, removed, added string }{
		{"none", "", "", runtime, runtime},
		{"fetch with the backend", "acl up srv_is_up(app/x)", "", "reload", runtime},
		{"fetch of another backend", "acl up srv_is_up(other/x)", "", runtime, runtime},
		{"fetch of another server", "acl up srv_is_up(app/y)", "", runtime, runtime},
		{"fetch with the name alone", "", "acl up srv_is_up(x)", "reload", runtime},
		{"fetch with spaces and quotes", "", `http-request deny if { srv_conn( "x" ) gt 3 }`, "reload", runtime},
		{"fetch in a format", "", `http-response set-header Q "now %[srv_queue(x),add(1)]"`, "reload", runtime},
		{"quotes on two levels", `http-request set-var(txn.a) "srv_weight('app/x')"`, "", "reload", runtime},
		{"escaped quotes", `log-format "%[srv_uweight(\"app/x\")] x"`, "", "reload", runtime},
		{"quotes inside the name", `acl up srv_is_up(app/"x") yes`, "", "reload", runtime},
		{"escape inside the name", `acl up srv_is_up(app/\x78)`, "", "reload", runtime},
		{"variable inside the name", `acl up srv_iweight("app/${NAME}")`, "", "reload", "reload"},
		{"variable for the backend", `acl up srv_sess_rate("${NAME}/x")`, "", "reload", runtime},
		{"free connections", "acl free srv_conn_free(app/x) gt 1", "", "reload", runtime},
		{"nothing but its name in a header", `http-response set-header S "%s srv_name"`, "http-response set-header S %[srv_name]",
			runtime, runtime},
		{"usable servers", "acl few nbsrv(app) lt 2", "acl free be_conn_free gt 1", runtime, runtime},
		{"slots of servers that drain", "acl full connslots(app) lt 2", "", "reload", runtime},
		{"slots of another backend", "acl full connslots(other) lt 2", "", runtime, runtime},
		{"reverse connection", "tcp-request session attach-srv app/x", "", "reload", runtime},
		{"reverse listener", "bind rhttp@app/x", "", "reload", runtime},
		{"number", "", "http-response set-header Id %[srv_id]", "reload", "reload"},
		{"number in a frontend", `log-format "%ci %[srv_id]"`, "", "reload", "reload"},
		{"number in a table", "http-request set-var(txn.i) src,table_server_id(t)", "", "reload", "reload"},
		{"queue by a word from the request", "http-request deny if { hdr(q),srv_queue gt 1 }", "", "reload", "reload"},
		{"a variable with the name of a fetch", "http-request set-var(txn.srv_id) int(1)", "", runtime, runtime},
		{"use-server", "", "use-server x if { path /x }", "reload", "reload"},
		{"persistence", "", "persist rdp-cookie", "reload", "reload"},
		{"log backend", "", "mode log", "reload", "reload"},
		{"tracked by its name alone", "", "server t 127.0.0.1:9 track x", "reload", runtime},
		{"tracked in a quoted word", "", `server t 127.0.0.1:9 track "app/x"`, "reload", runtime},
		{"tracked by default", "", "default-server track x", "reload", "reload"},
		{"path", "errorfile 503 /etc/x", "use_backend app if { path_beg /app /x }", runtime, runtime},
	} {
		config := func(servers string) string {
			return fmt.Sprintf("frontend web\n %s\nbackend app\n %s\n%sbackend other\n%s", test.frontend, test.backend,
				servers, serverX)
		}
		if got := needs(config(serverX+serverY), config(serverY)); got != test.removed {
			t.Errorf("%s: removing x needs %q, want %q", test.name, got, test.removed)
		}
		if got := needs(config(serverX+serverY), config(serverX+serverY+" server z 127.0.0.1:3\n")); got != test.added {
			t.Errorf("%s: adding z needs %q, want %q", test.name, got, test.added)
		}
	}
}

// References in a defaults section apply to the backends after it.
func TestReferences_InDefaults(t *testing.T) {
	for line, want := range map[string]string{
		"log-format %[srv_id]":                           "reload",
		"http-response set-header Id %[srv_id]":          "reload",
		"http-request deny if { srv_conn(x) gt 3 }":      "reload",
		"persist rdp-cookie":                             "reload",
		"balance source":                                 "reload",
		"mode log":                                       "reload",
		"cookie C insert":                                "reload",
		"option external-check":                          "reload",
		"http-request deny if { srv_conn(a/y) gt 3 }":    "runtime [a]",
		"option httpchk":                                 "runtime [a]",
		"http-response set-header Name %[srv_name,lower": "runtime [a]",
	} {
		config := "defaults\n " + line + "\nbackend a\n"
		if got := needs(config+serverX, config); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// Servers are numbered by their lines. If something reads the numbers, no line may change its position.
func TestOrder_NumbersAreRead(t *testing.T) {
	for config, want := range map[string]string{
		"backend a\n":                                                   "nothing",
		"backend a\n balance leastconn\n":                               "nothing",
		"backend a\n balance first\n":                                   "reload",
		"backend a\n http-response set-header I %[srv_id]\n":            "reload",
		"backend a\n option external-check\n":                           "reload",
		"frontend f\n log-format %[srv_id]\nbackend a\n":                "reload",
		"backend b\n http-response set-header I %[srv_id]\nbackend a\n": "nothing",
		"listen b\n http-response set-header I %[srv_id]\nbackend a\n":  "reload",
	} {
		if got := needs(config+serverX+serverY, config+serverY+serverX); got != want {
			t.Errorf("%q: got %q, want %q", config, got, want)
		}
	}
}

func TestOrder_Backups(t *testing.T) {
	const (
		first  = " server x 127.0.0.1:1 backup%s\n"
		second = " server y 127.0.0.1:2 backup%s\n"
		added  = " server z 127.0.0.1:3 backup%s\n"
	)
	for _, test := range []struct{ name, config, options, want string }{
		{"plain", "backend a\n", "", "reload"},
		{"a line that is not understood", "backend a\n", " source 127.0.0.1", "reload"},
		{"a line with a variable", "backend a\n", ` sni "str($SNI)"`, "reload"},
		{"all count", "backend a\n option allbackups\n", "", "nothing"},
		{"all count by default", "defaults\n option allbackups\nbackend a\n", "", "nothing"},
		{"not all count after all", "backend a\n option allbackups\n no option allbackups\n", "", "reload"},
		{"not all count here", "defaults\n option allbackups\nbackend a\n no option allbackups\n", "", "reload"},
		{"back to the default", "defaults\n option allbackups\nbackend a\n default option allbackups\n", "", "reload"},
		{"all count here", "defaults\n no option allbackups\nbackend a\n option allbackups\n", "", "nothing"},
		{"all count again", "backend a\n no option allbackups\n option allbackups\n", "", "nothing"},
		{"all count in other defaults", "defaults d\n option allbackups\ndefaults e\nbackend a\n", "", "reload"},
		{"all count in defaults of defaults", "defaults d\n option allbackups\ndefaults e from d\nbackend a from e\n",
			"", "nothing"},
		{"no backups", "backend a\n", " no-backup", "nothing"},
	} {
		line := func(format string) string { return fmt.Sprintf(format, test.options) }
		if got := needs(test.config+line(first)+line(second), test.config+line(second)+line(first)); got != test.want {
			t.Errorf("%s: swapping needs %q, want %q", test.name, got, test.want)
		}
		if test.options != "" && test.options != " no-backup" {
			continue
		}
		want := test.want
		if want == "nothing" {
			want = "runtime [a]"
		}
		if got := needs(test.config+line(first), test.config+line(added)+line(first)); got != want {
			t.Errorf("%s: adding before needs %q, want %q", test.name, got, want)
		}
		if got := needs(test.config+line(first), test.config+line(first)+line(added)); got != "runtime [a]" {
			t.Errorf("%s: adding behind needs %q", test.name, got)
		}
	}
}
