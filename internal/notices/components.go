package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// standardLibrary returns the component for what Go itself links.
func standardLibrary() (component, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return component{}, fmt.Errorf("go env GOROOT: %w", err)
	}
	files, err := licenseFiles(strings.TrimSpace(string(goroot)))
	return component{name: "Go standard library", files: files}, err
}

// linkedModules returns the modules that the binaries link.
func linkedModules() ([]component, error) {
	found := map[string]*component{}
	read := map[string]bool{}
	for _, platform := range platforms {
		packages, err := linkedPackages(platform)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Module == nil || p.Module.Main {
				continue
			}
			if found[p.Module.Path] == nil {
				found[p.Module.Path] = &component{name: p.Module.Path, version: p.Module.Version}
			}
			files, err := packageLicenses(p, read)
			if err != nil {
				return nil, err
			}
			c := found[p.Module.Path]
			c.files = append(c.files, files...)
		}
	}
	modules := make([]component, 0, len(found))
	for _, c := range found {
		slices.SortStableFunc(c.files, func(a, b licenseFile) int { return strings.Compare(a.text, b.text) })
		modules = append(modules, *c)
	}
	return modules, nil
}

// packageLicenses returns the licenses in the directory of a package and in those above it in its module, because a part of a
// module may have one of its own. It skips the directories in read, and adds the others to it.
func packageLicenses(p goPackage, read map[string]bool) ([]licenseFile, error) {
	var all []licenseFile
	for directory := p.Dir; !read[directory]; directory = filepath.Dir(directory) {
		read[directory] = true
		files, err := licenseFiles(directory)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
		if directory == p.Module.Dir {
			break
		}
	}
	return all, nil
}

type goPackage struct {
	Dir    string
	Module *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linkedPackages returns the packages that the binary for a platform links.
func linkedPackages(platform string) ([]goPackage, error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/haproxy-api")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", platform, err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", platform, err)
		}
		packages = append(packages, p)
	}
}

// vendoredLibraries returns the libraries of the status page, in the versions of its package.json.
func vendoredLibraries(ui string) ([]component, error) {
	content, err := os.ReadFile(filepath.Join(ui, "package.json"))
	if err != nil {
		return nil, err
	}
	var manifest struct{ Dependencies map[string]string }
	if err := json.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("%s/package.json: %w", ui, err)
	}
	directories, err := os.ReadDir(filepath.Join(ui, "static/vendor"))
	if err != nil {
		return nil, err
	}
	var libraries []component
	for _, directory := range directories {
		files, err := licenseFiles(filepath.Join(ui, "static/vendor", directory.Name()))
		if err != nil {
			return nil, err
		}
		libraries = append(libraries, component{directory.Name(), manifest.Dependencies[directory.Name()], files})
	}
	return libraries, nil
}
