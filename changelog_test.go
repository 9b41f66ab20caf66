package haproxyapi_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	changelogVersion = regexp.MustCompile(`^## \[(\d+\.\d+\.\d+(-rc\.\d+)?)\] - (\S+)$`)
	kindsOfChanges   = []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
)

// TestChangelog_Form checks that each version has a link, and a section with a date, which scripts/version and
// scripts/release-notes read.
func TestChangelog_Form(t *testing.T) {
	content, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var versions []string
	for line := range strings.SplitSeq(string(content), "\n") {
		if kind, found := strings.CutPrefix(line, "### "); found && !slices.Contains(kindsOfChanges, kind) {
			t.Errorf("%q is not one of %q", kind, kindsOfChanges)
		}
		if !strings.HasPrefix(line, "## ") {
			continue
		}
		if line == "## [Unreleased]" {
			versions = append(versions, "Unreleased")
			continue
		}
		section := changelogVersion.FindStringSubmatch(line)
		if section == nil {
			t.Errorf("%q is not a section: ## [VERSION] - DATE", line)
			continue
		}
		if _, err := time.Parse(time.DateOnly, section[3]); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		versions = append(versions, section[1])
	}
	if len(versions) < 2 || versions[0] != "Unreleased" || slices.Contains(versions[1:], "Unreleased") {
		t.Fatalf("the sections are %q; Unreleased has to be first, and a version to follow", versions)
	}
	for _, version := range versions {
		if !strings.Contains(string(content), "\n["+version+"]: https://"+module+"/") {
			t.Errorf("[%s] has no link at the end of the file", version)
		}
	}
	if want := "/compare/v" + versions[1] + "...HEAD\n"; !strings.Contains(string(content), want) {
		t.Errorf("the link of Unreleased does not end in %q", want)
	}
}

func TestReleaseNotes_AreSections(t *testing.T) {
	content, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(content), "\n") {
		section := changelogVersion.FindStringSubmatch(line)
		if section == nil {
			continue
		}
		notes, err := exec.CommandContext(t.Context(), "scripts/release-notes", section[1]).Output()
		if err != nil {
			t.Errorf("the notes of %s: %v", section[1], err)
		}
		if text := string(notes); !strings.Contains(text, "\n### ") || strings.Contains(text, "\n## ") {
			t.Errorf("the notes of %s are not one section:\n%s", section[1], text)
		}
		if link := regexp.MustCompile(`\]\([^:)]*\)`).Find(notes); link != nil {
			t.Errorf("the notes of %s have the relative link %s", section[1], link)
		}
	}
	if err := exec.CommandContext(t.Context(), "scripts/release-notes", "0.0.0").Run(); err == nil {
		t.Error("a version without a section has notes")
	}
}
