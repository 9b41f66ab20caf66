// Command notices writes THIRD-PARTY-NOTICES: the licenses of everything that the binaries of a release contain. It fails for a
// component without a license, or with one that is not in licenseKinds. go generate runs it.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:generate go run .

// root is the directory of this module, from the directory of this package.
const root = "../.."

// platforms are those of a release. Modules are linked for some of them only.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64"}

// A component is a module or a library with its licenses.
type component struct {
	name, version string
	files         []licenseFile
}

// A licenseFile is a license, or a notice that a license requires to be passed on.
type licenseFile struct {
	kinds []string // of licenseKinds; none for a notice
	text  string
}

func main() {
	text, err := notices()
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "THIRD-PARTY-NOTICES"), text, 0o644) //nolint:gosec // it is published
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// notices returns the content of THIRD-PARTY-NOTICES.
func notices() ([]byte, error) {
	goItself, err := standardLibrary()
	if err != nil {
		return nil, err
	}
	modules, err := linkedModules()
	if err != nil {
		return nil, err
	}
	libraries, err := vendoredLibraries(filepath.Join(root, "engine/server/ui"))
	if err != nil {
		return nil, err
	}
	return render(slices.Concat([]component{goItself}, modules, libraries))
}

// render lists the components, and then each text once with the components that it belongs to.
func render(components []component) ([]byte, error) {
	slices.SortFunc(components, func(a, b component) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.version, b.version))
	})
	var out bytes.Buffer
	out.WriteString("The binaries of haproxy-api contain the following components. Their licenses follow.\n\n")
	owners := map[string][]string{}
	var texts []string
	for _, c := range components {
		line, err := c.summary()
		if err != nil {
			return nil, err
		}
		out.WriteString(line)
		for _, f := range c.files {
			if owners[f.text] == nil {
				texts = append(texts, f.text)
			}
			owners[f.text] = append(owners[f.text], strings.TrimSpace(c.name+" "+c.version))
		}
	}
	rule := strings.Repeat("-", 80) + "\n"
	for _, text := range texts {
		out.WriteString("\n" + rule + strings.Join(owners[text], "\n") + "\n" + rule + "\n" + text)
	}
	return out.Bytes(), nil
}

// summary returns the line of the component, and for the Mozilla Public License where its source is, as section 3.2 requires.
func (c component) summary() (string, error) {
	var kinds []string
	for _, f := range c.files {
		kinds = append(kinds, f.kinds...)
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	if len(kinds) == 0 {
		return "", fmt.Errorf("%s has no license: replace it, or ask its authors for one", c.name)
	}
	line := strings.TrimSpace(c.name+" "+c.version) + ": " + strings.Join(kinds, ", ") + "\n"
	if !slices.Contains(kinds, "MPL-2.0") {
		return line, nil
	}
	if !strings.HasPrefix(c.name, "github.com/") {
		return "", fmt.Errorf("%s is under MPL-2.0, and the address of its source is unknown: add it to summary", c.name)
	}
	return line + "  Source code: https://" + c.name + "/tree/" + c.version + "\n", nil
}
