package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// repository is the root of the repository.
const repository = "../.."

// A block is a code block of a document.
type block struct {
	document string // the path in the repository
	line     int    // of its first line of code
	fenced   bool
	language string // the first word of the info string
	role     string // the rest of the info string
	text     string
	after    string // the role of the commands before it: "" without any, "sh", "sh machine" and so on
}

// at names the block in messages.
func (b block) at() string { return fmt.Sprintf("%s:%d", b.document, b.line) }

// file returns the name of the file that the block is written to in its session, or "".
func (b block) file() string {
	name, _ := strings.CutPrefix(b.role, "file ")
	if name == b.role {
		return ""
	}
	return name
}

// writeScript returns a script that writes the block to its file.
func (b block) writeScript() string {
	return fmt.Sprintf("mkdir -p \"$(dirname '%[1]s')\"\ncat >'%[1]s' <<'END OF FILE'\n%[2]sEND OF FILE\n", b.file(), b.text)
}

// documents returns the paths of the Markdown files that belong to the repository.
func documents() ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md")
	cmd.Dir = repository
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the documents: %w", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(repository, name)); err == nil { // not deleted
			names = append(names, name)
		}
	}
	return names, nil
}

// blocksOf returns the code blocks of the document.
func blocksOf(document string) ([]block, error) {
	source, err := os.ReadFile(filepath.Join(repository, document))
	if err != nil {
		return nil, err
	}
	return parseBlocks(document, source)
}

func parseBlocks(document string, source []byte) ([]block, error) {
	var blocks []block
	after := ""
	err := ast.Walk(goldmark.DefaultParser().Parse(text.NewReader(source)), func(n ast.Node, enter bool) (ast.WalkStatus, error) {
		if !enter {
			return ast.WalkContinue, nil
		}
		b := block{document: document, after: after}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			b.fenced = true
			if n.Info != nil {
				b.language, b.role, _ = strings.Cut(strings.TrimSpace(string(n.Info.Value(source))), " ")
				b.role = strings.TrimSpace(b.role)
			}
		case *ast.CodeBlock:
		default:
			return ast.WalkContinue, nil
		}
		lines := n.Lines()
		if lines.Len() == 0 {
			return ast.WalkStop, fmt.Errorf("%s: a code block is empty", document)
		}
		b.line = 1 + strings.Count(string(source[:lines.At(0).Start]), "\n")
		b.text = string(lines.Value(source))
		blocks = append(blocks, b)
		if b.language == "sh" {
			after = strings.TrimSpace("sh " + b.role)
		}
		return ast.WalkContinue, nil
	})
	return blocks, err
}
