package runtimeapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake listens like HAProxy's worker 7 behind a master, and talk answers each command.
func fake(t *testing.T, talk func(w io.Writer, command string) (goOn bool)) Endpoint {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a socket's path may not be long
	check(t, err)
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	check(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		_ = os.RemoveAll(dir)
	})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn, talk)
		}
	}()
	return Endpoint{Path: path, Worker: 7}
}

func serve(conn net.Conn, talk func(w io.Writer, command string) bool) {
	defer func() { _ = conn.Close() }()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch command := lines.Text(); command {
		case "prompt":
			_, _ = io.WriteString(conn, "master> ")
		case "@!7":
			_, _ = io.WriteString(conn, "7> ")
		default:
			if !talk(conn, command) {
				return
			}
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, to Endpoint) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), to)
	check(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func TestDo_AnswersMatchCommands(t *testing.T) {
	conn := dial(t, fake(t, func(w io.Writer, command string) bool {
		for _, piece := range strings.SplitAfter(answerTo(command)+"\n7> ", "") { // in the smallest pieces
			_, _ = io.WriteString(w, piece)
		}
		return true
	}))
	var commands []string
	for i := range 600 {
		commands = append(commands, fmt.Sprintf("add server b/s%d 127.0.0.1:%d %s", i, i, strings.Repeat("x", i%100)))
	}
	commands = append(commands, "nothing", "lines", "prompts")
	answers, err := conn.Do(t.Context(), commands...)
	check(t, err)
	for i, command := range commands {
		if answers[i] != strings.TrimSpace(answerTo(command)) {
			t.Fatalf("%q was answered with %q", command, answers[i])
		}
	}
}

func answerTo(command string) string {
	switch command {
	case "nothing":
		return ""
	case "lines":
		return "\none\n\ntwo\n"
	case "prompts": // what only looks like one
		return "7 > 77> \n 7> \nmaster> "
	default:
		return "to " + command + "\n"
	}
}

func TestDo_BrokenConnection(t *testing.T) {
	for _, said := range []string{"", "half an ans", "an answer without a prompt\n", "7"} {
		to := fake(t, func(w io.Writer, command string) bool {
			if command == "last" {
				_, _ = io.WriteString(w, said)
				return false
			}
			_, _ = io.WriteString(w, "\n7> ")
			return true
		})
		answers, err := dial(t, to).Do(t.Context(), "one", "last", "never")
		if err == nil || len(answers) != 1 {
			t.Errorf("after %q: answers %q, %v", said, answers, err)
		}
	}
}

func TestDo_ContextDone(t *testing.T) {
	asked := make(chan struct{})
	conn := dial(t, fake(t, func(io.Writer, string) bool {
		close(asked)
		return true
	}))
	cause := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(cause)
	}()
	if _, err := conn.Do(ctx, "anything"); !errors.Is(err, cause) {
		t.Errorf("the wait ended with %v", err)
	}
}

func TestDo_RejectsSeveralLines(t *testing.T) {
	conn := dial(t, fake(t, func(io.Writer, string) bool {
		t.Error("something was sent")
		return false
	}))
	for _, command := range []string{"a\nb", "a\rb", "a\x00", "set map <<"} {
		if _, err := conn.Do(t.Context(), command); err == nil {
			t.Errorf("%q was taken for one command", command)
		}
	}
}

func TestDial_Fails(t *testing.T) {
	if _, err := Dial(t.Context(), Endpoint{Path: "/no/such/socket"}); err == nil {
		t.Error("there is nothing to connect to")
	}
	to := fake(t, func(w io.Writer, command string) bool {
		// The answer of HAProxy when the worker has ended.
		_, _ = fmt.Fprintf(w, "Can't find the target PID matching the prefix '%s'\n", command)
		return false
	})
	to.Worker = 8
	if _, err := Dial(t.Context(), to); err == nil {
		t.Error("the worker is not there")
	}
}

const state = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_state srv_fqdn srv_port
2 b 1 s1 127.0.0.1 2 0 1 1 0 - 18081
2 b 2 s2 ::1 0 5 10 1 14 - 18082
3 c 1 s1 - 0 32 1 1 6 foo 80
`

func TestParseServers(t *testing.T) {
	servers, err := ParseServers(state)
	check(t, err)
	var got []string
	for _, s := range servers {
		got = append(got, fmt.Sprintf("%d %s/%s %v weight %d admin %x check %v", s.BackendID, s.Backend, s.Name, s.Addr, s.Weight,
			int(s.Admin), s.Check))
	}
	want := []string{
		"2 b/s1 127.0.0.1:18081 weight 1 admin 0 check false", "2 b/s2 [::1]:18082 weight 10 admin 5 check true",
		"3 c/s1 invalid AddrPort weight 1 admin 20 check true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, bad := range []string{
		"", "Can't find backend.", strings.Replace(state, "1\n", "2\n", 1), strings.Replace(state, "srv_port", "", 1),
		strings.Replace(state, " 18081", "", 1), strings.Replace(state, "18081", "x", 1), "1\nno heading\n",
	} {
		if servers, err := ParseServers(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, servers)
		}
	}
}

const stat = "# pxname,svname,scur,slim,last_chk,\nb,s1,3,7,\"says \"\"no, never\"\"\",\nb,s2,0,,,\n"

func TestParseLoads(t *testing.T) {
	loads, err := ParseLoads(stat)
	check(t, err)
	if len(loads) != 2 || loads["b/s1"] != (Load{3, 7}) || loads["b/s2"] != (Load{}) {
		t.Errorf("got %+v", loads)
	}
	for _, bad := range []string{
		"", "Unknown command", strings.Replace(stat, "scur", "other", 1), strings.Replace(stat, ",3,", ",x,", 1),
	} {
		if loads, err := ParseLoads(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, loads)
		}
	}
}

const statistics = "# pxname,svname,qcur,scur,status,weight,lastchg,check_status,check_code,check_duration,last_chk,addr,\n" +
	"b,s1,2,3,DOWN,7,60,L7STS,503,4,\"not \"\"ready\"\"\",192.0.2.1:80,\nb,s2,0,0,no check,1,5,,,,,unix,\n"

func TestParseStatistics(t *testing.T) {
	servers, err := ParseStatistics(statistics)
	check(t, err)
	want := []sdk.Server{
		{
			Backend: "b", Name: "s1", Address: "192.0.2.1:80", Status: "DOWN", InStatus: time.Minute,
			Check: `L7STS/503 in 4ms: not "ready"`, Weight: 7, Sessions: 3, Queue: 2,
		},
		{Backend: "b", Name: "s2", Address: "unix", Status: "no check", InStatus: 5 * time.Second, Weight: 1},
	}
	if !slices.Equal(servers, want) {
		t.Errorf("got %+v", servers)
	}
	for _, bad := range []string{"", "Permission denied\n", strings.Replace(statistics, "qcur", "other", 1)} {
		if servers, err := ParseStatistics(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, servers)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(state)
	f.Add(stat)
	f.Add(statistics)
	f.Add("1\n#\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if servers, err := ParseServers(answer); err == nil {
			for _, s := range servers {
				if s.Name == "" || strings.ContainsAny(s.Name+s.Backend, " \n") {
					t.Errorf("%q has a server %q of %q", answer, s.Name, s.Backend)
				}
			}
		}
		_, _ = ParseLoads(answer)
		_, _ = ParseStatistics(answer)
	})
}

func FuzzRead(f *testing.F) {
	f.Add("one\n7> two\n\n7> ", 3)
	f.Add("7> 7> \n7> \n\n7> x", 1)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for rest := stream; rest != ""; {
				n := min(len(rest), max(1, size))
				if _, err := io.WriteString(there, rest[:n]); err != nil {
					break
				}
				rest = rest[n:]
			}
			_ = there.Close()
		}()
		c := &Conn{conn: here, prompt: "7> "}
		for {
			answer, err := c.read()
			if err != nil {
				break
			}
			if strings.Contains("\n"+answer, "\n7> ") {
				t.Errorf("an answer in %q has a prompt in it: %q", stream, answer)
			}
		}
		_ = here.Close()
		<-done
	})
}

// Commands that follow those to which HAProxy did not answer were not sent.
func TestSend_ConnectionIsLost(t *testing.T) {
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = there.Close() }()
		_, _ = there.Read(make([]byte, 2*maxAhead))
		_, _ = io.WriteString(there, "New server registered.\n\n> ")
	}()
	var commands []command
	for i := range 3 {
		commands = append(commands, command{text: fmt.Sprintf("%d %s", i, strings.Repeat("x", maxAhead/2-10))})
	}
	c := &Client{conn: &Conn{conn: here, prompt: "> "}}
	sent, err := c.send(t.Context(), commands)
	if err == nil {
		t.Error("a connection that is lost has answered")
	}
	if len(sent) != 2 || sent[0].Sent[0] != '0' || sent[1].Answer != noAnswer {
		t.Errorf("%d commands were sent, the error is %v", len(sent), err)
	}
	_ = here.Close()
	<-done
}
