package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// diffFiles returns the difference between the documents of generations 1 and 2 with those files.
func diffFiles(before, after []sdk.File) Diff {
	return DiffDocuments(sdk.Document{Generation: 1, Files: before}, sdk.Document{Generation: 2, Files: after})
}

func mainFile(text string) []sdk.File {
	return []sdk.File{{Name: "haproxy.cfg", Content: []byte(text)}}
}

func TestDiffDocuments(t *testing.T) {
	t.Parallel()
	ten := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"
	header := "--- haproxy.cfg\tgeneration 1\n+++ haproxy.cfg\tgeneration 2\n"
	for _, test := range []struct {
		name           string
		before, after  []sdk.File
		want           string
		added, removed int
	}{
		{"nothing", mainFile(ten), mainFile(ten), "", 0, 0},
		{"a line in the middle", mainFile(ten), mainFile(strings.Replace(ten, "6\n", "six\n", 1)),
			header + "@@ -3,7 +3,7 @@\n 3\n 4\n 5\n-6\n+six\n 7\n 8\n 9\n", 1, 1},
		{"a part of a line", mainFile(ten), mainFile(strings.Replace(ten, "10\n", "11\n", 1)),
			header + "@@ -7,4 +7,4 @@\n 7\n 8\n 9\n-10\n+11\n", 1, 1},
		{"a line more", mainFile(ten), mainFile(ten + "11\n"), header + "@@ -8,3 +8,4 @@\n 8\n 9\n 10\n+11\n", 1, 0},
		{"a line twice", mainFile("a\nb\n"), mainFile("a\na\nb\n"), header + "@@ -1,2 +1,3 @@\n a\n+a\n b\n", 1, 0},
		{"two changes far apart", mainFile(ten), mainFile(strings.NewReplacer("1\n2", "2", "9\n10", "9").Replace(ten)),
			header + "@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n@@ -7,4 +6,3 @@\n 7\n 8\n 9\n-10\n", 0, 2},
		{"no newline at the end", mainFile("a"), mainFile("a\n"),
			header + "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n", 1, 1},
		{"the first document", nil, mainFile("a\n"), "--- /dev/null\n+++ haproxy.cfg\tgeneration 2\n@@ -0,0 +1,1 @@\n+a\n", 1, 0},
		{"a file less", append(mainFile("a\n"), sdk.File{Name: "x", Content: []byte("b\n")}), mainFile("a\n"),
			"--- x\tgeneration 1\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-b\n", 0, 1},
		{"another name of the main file", []sdk.File{{Name: "a", Content: []byte("1\n")}, {Name: "c", Content: []byte("x\n")}},
			[]sdk.File{{Name: "b", Content: []byte("2\n")}, {Name: "c", Content: []byte("x\n")}},
			"--- a\tgeneration 1\n+++ b\tgeneration 2\n@@ -1,1 +1,1 @@\n-1\n+2\n", 1, 1},
		{"only another name", []sdk.File{{Name: "a", Content: []byte("1\n")}},
			[]sdk.File{{Name: "b", Content: []byte("1\n")}}, "", 0, 0},
		{"an empty file", nil, mainFile(""), "--- /dev/null\n+++ haproxy.cfg\tgeneration 2\n", 0, 0},
	} {
		got := diffFiles(test.before, test.after)
		if got != (Diff{Text: test.want, Added: test.added, Removed: test.removed}) {
			t.Errorf("%s: got %d, %d\n%s\nwant %d, %d\n%s", test.name, got.Added, got.Removed, got.Text, test.added, test.removed,
				test.want)
		}
	}
}

// The difference, applied to the text before, results in the text after.
func TestDiffDocuments_Random(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		before := randomText(r, r.IntN(60))
		after := edited(r, before)
		d := diffFiles(mainFile(before), mainFile(after))
		if got := patched(t, before, d.Text); got != after {
			t.Fatalf("seed %d: %q became %q instead of %q with\n%s", seed, before, got, after, d.Text)
		}
	}
}

func randomText(r *rand.Rand, lines int) string {
	var out strings.Builder
	for range lines {
		fmt.Fprintf(&out, "%d\n", r.IntN(20))
	}
	return out.String()
}

// edited returns text with some lines replaced, and sometimes without a newline at the end.
func edited(r *rand.Rand, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range r.IntN(4) {
		at := r.IntN(len(lines))
		lines[at] = randomText(r, r.IntN(3))
	}
	text = strings.Join(lines, "")
	if r.IntN(5) == 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

// patched applies a unified diff of one file.
func patched(t *testing.T, before, text string) string {
	t.Helper()
	lines := strings.SplitAfter(before, "\n")
	var out strings.Builder
	at := 0
	copyTo := func(line int) {
		for ; at < line; at++ {
			out.WriteString(lines[at])
		}
	}
	sign := byte(0)
	for line := range strings.Lines(text) {
		switch line[0] {
		case '@':
			var start, count, newStart, newCount int
			if _, err := fmt.Sscanf(line, "@@ -%d,%d +%d,%d @@", &start, &count, &newStart, &newCount); err != nil {
				t.Fatal(err)
			}
			if count > 0 {
				start--
			}
			copyTo(start)
			if got := strings.Count(out.String(), "\n"); newCount > 0 && got != newStart-1 {
				t.Fatalf("line %d of the result has number %d in\n%s", got+1, newStart, text)
			}
		case ' ', '-':
			if strings.HasPrefix(line, "---") && at == 0 && out.Len() == 0 && sign == 0 {
				continue
			}
			if lines[at] != line[1:] && lines[at]+"\n" != line[1:] {
				t.Fatalf("line %q is %q in\n%s", lines[at], line, text)
			}
			if line[0] == ' ' {
				out.WriteString(lines[at])
			}
			at++
		case '+':
			if !strings.HasPrefix(line, "+++ ") {
				out.WriteString(line[1:])
			}
		case '\\':
			if sign == '+' {
				text := strings.TrimSuffix(out.String(), "\n")
				out.Reset()
				out.WriteString(text)
			}
		}
		sign = line[0]
	}
	copyTo(len(lines))
	return out.String()
}

func TestDiffDocuments_Bound(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for n := range 100_000 {
		fmt.Fprintf(&text, "line %d\n", n)
	}
	d := diffFiles(nil, mainFile(text.String()))
	if !d.Truncated || d.Added != 100_000 || len(d.Text) > maxDiff || len(d.Text) < maxDiff-100 ||
		!strings.HasSuffix(d.Text, "\n") {
		t.Errorf("%d bytes, %d lines, truncated %v", len(d.Text), d.Added, d.Truncated)
	}
	d = diffFiles(nil, mainFile(strings.Repeat("x", 2*maxDiff)))
	if !d.Truncated || d.Added != 1 || len(d.Text) > 100 {
		t.Errorf("one long line: %d bytes, %d lines, truncated %v", len(d.Text), d.Added, d.Truncated)
	}
}

// largeDocument returns a configuration with 500 services of 20 servers each.
func largeDocument() []byte {
	var out bytes.Buffer
	for service := range 500 {
		fmt.Fprintf(&out, "\nbackend service-%d\n  balance roundrobin\n  option httpchk GET /health\n", service)
		for server := range 20 {
			fmt.Fprintf(&out, "  server node-%d-%d 10.0.%d.%d:%d cookie node-%d check inter 5s fall 3 rise 2\n",
				service, server, service%250, server, 20_000+service*20+server, server)
		}
	}
	return out.Bytes()
}

// BenchmarkDiffDocuments finds the change of one instance among 10,000. It also reports the time as a fraction of that for
// comparing whole documents.
func BenchmarkDiffDocuments(b *testing.B) {
	before := largeDocument()
	after := bytes.Replace(before, []byte("10.0.17.5:"), []byte("10.0.17.6:"), 1)
	if bytes.Equal(before, after) {
		b.Fatal("nothing has changed")
	}
	for b.Loop() {
		if d := diffFiles(mainFiles(before), mainFiles(after)); d.Added != 1 || d.Removed != 1 {
			b.Fatal(d)
		}
	}
	ours := b.Elapsed() / time.Duration(b.N)
	b.StopTimer()
	began := time.Now()
	diff.Diff("a", before, "b", after)
	b.ReportMetric(float64(ours)/float64(time.Since(began)), "of-whole-diff")
}

func mainFiles(content []byte) []sdk.File { return []sdk.File{{Name: "haproxy.cfg", Content: content}} }
