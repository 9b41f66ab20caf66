package runtimeapi

import (
	"context"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// AskServers asks the process at an endpoint for the statistics of its servers, on a connection of its own. answered reports
// whether the info is that of the process that is meant.
func AskServers(ctx context.Context, to Endpoint, answered func(Info) bool) ([]sdk.Server, error) {
	conn, err := Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("HAProxy takes no commands on %s: %w", to.Path, err)
	}
	defer conn.Close()
	answers, err := conn.Do(ctx, "show info", "show stat -1 4 -1")
	if err != nil {
		return nil, err
	}
	if !answered(ParseInfo(answers[0])) {
		return nil, &UnsupportedError{"another process answers on " + to.Path + ", or one that is about to end"}
	}
	return ParseStatistics(answers[1])
}

// ParseStatistics parses an answer to "show stat" for servers. HAProxy gives their addresses at level operator and admin.
func ParseStatistics(answer string) ([]sdk.Server, error) {
	var servers []sdk.Server
	err := readStatistics(answer, func(r *record) {
		servers = append(servers, sdk.Server{
			Backend: r.text("pxname"), Name: r.text("svname"), Address: r.text("addr"), Status: r.text("status"),
			InStatus: time.Duration(r.number("lastchg")) * time.Second, Check: r.check(),
			Weight: r.number("weight"), Sessions: r.number("scur"), Queue: r.number("qcur"),
		})
	})
	return servers, err
}

// check returns the result of the last health check, like HAProxy's page of statistics does: "L7STS/503 in 2ms: what it got".
func (r *record) check() string {
	text := r.text("check_status")
	if text == "" {
		return ""
	}
	if code := r.text("check_code"); code != "" {
		text += "/" + code
	}
	if took := r.text("check_duration"); took != "" {
		text += " in " + took + "ms"
	}
	if got := r.text("last_chk"); got != "" {
		text += ": " + got
	}
	return text
}
