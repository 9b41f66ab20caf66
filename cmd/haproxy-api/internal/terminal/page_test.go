package terminal

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPage_WrapsAtWidth(t *testing.T) {
	const text = "a text of several words with the path /etc/haproxy-api/haproxy-api.toml and a pair" + NoBreak + "of words"
	for width, want := range map[int]string{
		0: "lead: a text of several words with the path /etc/haproxy-api/haproxy-api.toml and a pair of words\n",
		50: "lead: a text of several words with the path\n" +
			"      /etc/haproxy-api/haproxy-api.toml and a\n" +
			"      pair of words\n",
	} {
		p := NewPlainPage(width)
		p.Hanging("lead: ", text)
		if diff := cmp.Diff(want, p.String()); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", width, diff)
		}
	}
}

func TestPage_AlignsColumns(t *testing.T) {
	p := NewPlainPage(30)
	p.colored = true
	p.Table([][]string{
		{"\tNO", "NAME", "TEXT"},
		{"\t7", p.Failure("日本"), "short"},
		{"\t12", "long name", "this does not fit here"},
	})
	p.Fields(2, [][2]string{{"a", "1"}, {"long", "2"}})
	p.Verbatim(2, "one\n\ttwo that is much too long for it\n")
	const want = "NO  NAME       TEXT\n" +
		" 7  " + red + "日本" + reset + "       short\n" +
		"12  long name  this does not …\n" +
		"  " + faint + "a   " + reset + "  1\n" +
		"  " + faint + "long" + reset + "  2\n" +
		"  one\n" +
		"      two that is much too lo…\n"
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is no terminal gets neither colors, nor line breaks, nor the escape sequences of a screen.
func TestScreen_AppendsToFile(t *testing.T) {
	var out bytes.Buffer
	screen := NewScreen(&out)
	for _, text := range []string{"first", "second"} {
		p := NewPage(&out)
		p.Line(p.Failure(text))
		if err := screen.Show(p); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "first\nsecond\n" || wrapWidth(&out) != 0 {
		t.Errorf("wrote %q, width %d", &out, wrapWidth(&out))
	}
}

func TestPage_WritesAWideLastColumnBelow(t *testing.T) {
	const reason = "the listener *:8080 was added, which needs a reload of HAProxy"
	for width, want := range map[int]string{
		80: "NO  ACTION     REASON\n" +
			" 7  restarted  the listener *:8080 was added, which needs a reload of HAProxy\n" +
			" 8  reload     short\n" +
			" 9  reload\n",
		42: "NO  ACTION\n" +
			"    REASON\n" +
			" 7  restarted\n" +
			"    the listener *:8080 was added, which\n" +
			"    needs a reload of HAProxy\n" +
			" 8  reload\n" +
			"    short\n" +
			" 9  reload\n",
	} {
		p := NewPlainPage(width)
		p.Table([][]string{
			{"\tNO", "ACTION", "REASON"}, {"\t7", "restarted", reason}, {"\t8", "reload", "short"}, {"\t9", "reload", ""},
		})
		if diff := cmp.Diff(want, p.String()); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", width, diff)
		}
	}
}
