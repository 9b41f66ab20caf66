package docs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A page is what the checks of names look at in a Markdown file.
type page struct {
	name     string // its path in the repository
	headings []heading
	links    []item // their destinations, with those of images and of HTML
	images   []image
	spans    []item // code in a line
	code     []item // code blocks
}

// An item is a text at a line of a page.
type item struct {
	text     string
	line     int
	language string // of a code block
}

type heading struct {
	text  string
	level int
	line  int
}

type image struct {
	source, alt string
	line        int
}

// trackedFiles returns the paths of the files in the repository that match the patterns of git, or of all, also of those that are
// not committed yet.
func trackedFiles(patterns ...string) ([]string, error) {
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard"}, patterns...)
	cmd := exec.Command("git", args...)
	cmd.Dir = repository
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the files: %w", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(repository, name)); err == nil { // not deleted
			names = append(names, name)
		}
	}
	return names, nil
}

func parsePage(name string, source []byte) (*page, error) {
	p := &pageReader{page: page{name: name}, source: source}
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	if err := ast.Walk(document, p.visit); err != nil {
		return nil, err
	}
	return &p.page, nil
}

type pageReader struct {
	page
	source []byte
	line   int // of the block that is being read
}

var htmlAttribute = regexp.MustCompile(`(?i)\b(?:href|src|srcset)="([^"\s]+)`)

func (p *pageReader) visit(n ast.Node, enter bool) (ast.WalkStatus, error) {
	if !enter {
		return ast.WalkContinue, nil
	}
	if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
		p.line = 1 + bytes.Count(p.source[:n.Lines().At(0).Start], []byte("\n"))
	}
	switch n := n.(type) {
	case *ast.Heading:
		p.headings = append(p.headings, heading{p.textOf(n), n.Level, p.line})
	case *ast.Link:
		p.links = append(p.links, item{text: string(n.Destination), line: p.line})
	case *ast.AutoLink:
		p.links = append(p.links, item{text: string(n.URL(p.source)), line: p.line})
	case *ast.Image:
		p.images = append(p.images, image{string(n.Destination), p.textOf(n), p.line})
		p.links = append(p.links, item{text: string(n.Destination), line: p.line})
	case *ast.CodeSpan:
		p.spans = append(p.spans, item{text: strings.Join(strings.Fields(p.textOf(n)), " "), line: p.lineOf(n)})
		return ast.WalkSkipChildren, nil
	case *ast.FencedCodeBlock:
		p.code = append(p.code, item{string(n.Lines().Value(p.source)), p.line, string(n.Language(p.source))})
	case *ast.CodeBlock:
		p.code = append(p.code, item{text: string(n.Lines().Value(p.source)), line: p.line})
	case *ast.HTMLBlock:
		p.readHTML(string(n.Lines().Value(p.source)))
	case *ast.RawHTML:
		p.readHTML(string(n.Segments.Value(p.source)))
	}
	return ast.WalkContinue, nil
}

var (
	htmlComment = regexp.MustCompile(`(?s)<!--.*?-->`)
	htmlImage   = regexp.MustCompile(`(?is)<img\b[^>]*>`)
	htmlAlt     = regexp.MustCompile(`(?is)\balt="([^"]*)"`)
)

func (p *pageReader) readHTML(html string) {
	html = htmlComment.ReplaceAllString(html, "")
	for _, match := range htmlAttribute.FindAllStringSubmatch(html, -1) {
		p.links = append(p.links, item{text: match[1], line: p.line})
	}
	for _, tag := range htmlImage.FindAllString(html, -1) {
		found := image{line: p.line}
		if source := htmlAttribute.FindStringSubmatch(tag); source != nil {
			found.source = source[1]
		}
		if alt := htmlAlt.FindStringSubmatch(tag); alt != nil {
			found.alt = alt[1]
		}
		p.images = append(p.images, found)
	}
}

// textOf returns the text in a node, without its markup.
func (p *pageReader) textOf(n ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(n, func(inner ast.Node, enter bool) (ast.WalkStatus, error) {
		if t, ok := inner.(*ast.Text); ok && enter {
			b.Write(t.Segment.Value(p.source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		} else if s, ok := inner.(*ast.String); ok && enter {
			b.Write(s.Value)
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func (p *pageReader) lineOf(n ast.Node) int {
	if first, ok := n.FirstChild().(*ast.Text); ok {
		return 1 + bytes.Count(p.source[:first.Segment.Start], []byte("\n"))
	}
	return p.line
}

// anchors returns the fragments with which GitHub links to the headings of the page.
func (p *page) anchors() map[string]bool {
	all := map[string]bool{}
	for _, heading := range p.headings {
		name := anchor(heading.text)
		for n := 1; all[name]; n++ {
			name = fmt.Sprintf("%s-%d", anchor(heading.text), n)
		}
		all[name] = true
	}
	return all
}

// resolve returns the path in the repository that a relative link on the page leads to, and its fragment.
func (p *page) resolve(destination string) (file, fragment string) {
	file, fragment, _ = strings.Cut(destination, "#")
	if file == "" {
		return p.name, fragment
	}
	return path.Join(path.Dir(p.name), file), fragment
}
