package templatetest

import (
	"bytes"
	"testing"
	"time"
)

func TestReplaceTimes(t *testing.T) {
	at := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	then := time.Date(2025, 3, 9, 8, 1, 2, 3e6, time.UTC)
	document := func(first string, at time.Time) []byte {
		return []byte("# " + first + "\n# Written at " + at.String() + "\nglobal\n\t# " + at.Format("Mon 3:04PM") + ", the end\n")
	}
	versions := func(first string) [][]byte {
		var all [][]byte
		for _, other := range otherTimes(at) {
			all = append(all, document(first, other))
		}
		return all
	}
	for _, test := range []struct {
		name       string
		live, want []byte
	}{
		{"only the times differ", document("a", then), document("a", then)},
		{"another line differs too", document("b", then), document("a", then)},
		{"live has no time", []byte("# a b c\nglobal\n"), document("a", at)},
		{"nothing is live", nil, document("a", at)},
	} {
		if got := replaceTimes(document("a", at), versions("a"), test.live); !bytes.Equal(got, test.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// If the number of lines depends on the time, the lines that print the time cannot be found.
func TestReplaceTimes_DifferentNumberOfLines(t *testing.T) {
	text := "a 2026\nb\n"
	if got := replaceTimes([]byte(text), [][]byte{[]byte("a 2027\nb\nc\n")}, []byte("a 2020\nb\n")); string(got) != text {
		t.Errorf("got %q", got)
	}
}

// A line that consists of the time only does not match every line.
func TestReplaceTimes_LineOfTimeOnly(t *testing.T) {
	got := replaceTimes([]byte("# 5:00PM\n"), [][]byte{[]byte("# 6:01PM\n")}, []byte("# generated\n# 8:01AM\n"))
	if string(got) != "# 8:01AM\n" {
		t.Errorf("got %q", got)
	}
}
