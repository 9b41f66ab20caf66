package e2e_test

import (
	"encoding/xml"
	"fmt"
	"html"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const terminalPicture = "../../docs/images/terminal.svg"

// TestTerminalPicture compares docs/images/terminal.svg with what status and explain print. Times, numbers and bars differ
// between runs and are not compared. With -update, it writes the picture, with the version of a release and the default address,
// after some minutes, so that it shows a daemon as a reader has one.
func TestTerminalPicture(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `reload_interval = "1ms"`)
	builtin, err := os.ReadFile("../../templates/builtin/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	env.write("haproxy.tmpl", string(builtin))
	env.editConfig("[haproxy]\n", fmt.Sprintf("[haproxy]\ntemplate = %q\n", env.path("haproxy.tmpl")))
	env.startInstance("web", "web-1", 8080)
	env.startInstance("api", "api-1", 8081)
	env.start()
	env.waitAnswer(8080, "web-1")
	env.waitInSync()
	env.write("haproxy.tmpl", strings.Replace(string(builtin), `default "roundrobin"`, `default "leastconn"`, 1))
	env.template = nil // load it again
	env.waitInSync()
	env.startInstance("web", "web-2", 8080)
	env.eventually("the new instance serves", func() bool { body, _ := env.get(8080); return body == "web-2" })
	env.waitInSync()

	if *update {
		time.Sleep(3 * time.Minute)
	}
	var session strings.Builder
	for _, args := range []string{"status", "explain --reload"} {
		fmt.Fprintf(&session, "\x1b[1m$ haproxy-api %s\x1b[0m\n%s\n", args, env.terminalOutput(args))
	}
	version, err := exec.Command("../../scripts/version").Output()
	if err != nil {
		t.Fatal(err)
	}
	release, _, _ := strings.Cut(strings.TrimSpace(string(version)), "+")
	picture := terminalSVG(strings.NewReplacer(
		env.path("haproxy.cfg"), "/etc/haproxy/haproxy.cfg",
		env.directory, "/etc/haproxy-api",
		env.apiAddress, "127.0.0.1:7778",
		"(devel)", release,
	).Replace(session.String()))
	if *update {
		if err := os.WriteFile(terminalPicture, []byte(picture), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(terminalPicture)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pictureWords(t, string(committed)), pictureWords(t, picture)); diff != "" {
		t.Errorf("%s is not what the commands print; -update writes it (-picture +printed)\n%s", terminalPicture, diff)
	}
}

const pictureColumns = 84

// terminalOutput returns what a command prints on a terminal that is as wide as the picture.
func (env *testEnv) terminalOutput(args string) string {
	env.t.Helper()
	command := fmt.Sprintf("stty cols %d rows 60; haproxy-api -f %s %s", pictureColumns, env.path("haproxy-api.toml"), args)
	cmd := exec.Command("script", "--quiet", "--return", "--command", command, os.DevNull)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		env.t.Fatalf("%s: %v\n%s", args, err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// The size of a character of the picture, and the space around the text.
const (
	cellWidth, cellHeight = 8, 19
	pictureMargin         = 20
)

// pictureStyle has the colors of the escape sequences that haproxy-api uses, by their number, on light and on dark pages.
const pictureStyle = `
rect { fill: #ffffff; stroke: #d0d7de }
text { font: 13.3px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
text { white-space: pre; fill: #1f2328 }
.s1 { font-weight: bold }
.s2 { fill: #59636e } .s31 { fill: #c5221f } .s32 { fill: #1a7f37 } .s33 { fill: #9a6700 } .s36 { fill: #0f6f85 }
@media (prefers-color-scheme: dark) {
rect { fill: #0d1117; stroke: #3d444d }
text { fill: #f0f6fc }
.s2 { fill: #9198a1 } .s31 { fill: #ff7b72 } .s32 { fill: #3fb950 } .s33 { fill: #d29922 } .s36 { fill: #56d4dd }
}
`

var escapeSequence = regexp.MustCompile(`\x1b\[([0-9]+)m`)

// terminalSVG returns a picture of a terminal with this text. Each run of characters with one color begins at its column,
// whatever font the reader has.
func terminalSVG(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var out strings.Builder
	width, height := pictureColumns*cellWidth+2*pictureMargin, len(lines)*cellHeight+2*pictureMargin
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">`+"\n",
		width, height)
	fmt.Fprintf(&out, "<style>%s</style>\n", pictureStyle)
	fmt.Fprintf(&out, "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", width-1, height-1)
	for row, line := range lines {
		column, style := 0, "0"
		y := pictureMargin + row*cellHeight + cellHeight*3/4
		for line != "" {
			run := line
			at := escapeSequence.FindStringSubmatchIndex(line)
			if at != nil {
				run = line[:at[0]]
			}
			trimmed := strings.TrimLeft(run, " ")
			column += len(run) - len(trimmed)
			if length := utf8.RuneCountInString(trimmed); length > 0 {
				fmt.Fprintf(&out, `<text class="s%s" x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs">`,
					style, pictureMargin+column*cellWidth, y, length*cellWidth)
				fmt.Fprintf(&out, "%s</text>\n", html.EscapeString(trimmed))
				column += length
			}
			if at == nil {
				break
			}
			style, line = line[at[2]:at[3]], line[at[1]:]
		}
	}
	return out.String() + "</svg>\n"
}

// varies matches what differs between runs, with what some versions of HAProxy log during a reload.
var varies = regexp.MustCompile(`Details .* \(Exit\)|version \S+|haproxy-api \S+ at |[0-9.:]+[a-z]*|█+|\bm?s\b`)

// pictureWords returns the words of a picture without what differs between runs. Lines may be wrapped differently.
func pictureWords(t *testing.T, picture string) []string {
	t.Helper()
	var svg struct {
		Text []string `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(picture), &svg); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(varies.ReplaceAllString(strings.Join(svg.Text, " "), ""))
}
