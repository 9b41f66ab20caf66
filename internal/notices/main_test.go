package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNotices_UpToDate(t *testing.T) {
	want, err := notices()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "THIRD-PARTY-NOTICES"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("THIRD-PARTY-NOTICES is out of date; run: go generate ./internal/notices")
	}
}

func TestNotices_PlatformsOfTheMakefile(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nPLATFORMS ?= " + strings.Join(platforms, " ") + "\n"; !strings.Contains(string(makefile), want) {
		t.Errorf("the Makefile builds for other platforms than %q", platforms)
	}
}

func TestLicenseFiles_Kinds(t *testing.T) {
	const (
		mit = "Permission is hereby granted, free of charge, to any person obtaining\na copy\nTHE SOFTWARE IS PROVIDED"
		bsd = "Redistribution and use in source and binary forms\nmust retain this list of conditions\n"
	)
	tests := []struct {
		name, file, text string
		want             []string
		wantError        bool
	}{
		{"MIT", "LICENSE", mit, []string{"MIT"}, false},
		{"British spelling", "licence.md", mit, []string{"MIT"}, false},
		{"two kinds", "COPYING", mit + bsd, []string{"MIT", "BSD-2-Clause"}, false},
		{"three clauses", "LICENSE.txt", bsd + "Neither the name of", []string{"BSD-3-Clause"}, false},
		{"unknown", "LICENSE", "You may look at this.", nil, true},
		{"additional conditions", "LICENSE", mit + "\n\"Commons Clause\" License Condition", nil, true},
		{"GPL", "COPYING", "GNU GENERAL PUBLIC LICENSE\nVersion 3", nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			directory := writeFile(t, test.file, test.text)
			files, err := licenseFiles(directory)
			if (err != nil) != test.wantError {
				t.Fatalf("error %v", err)
			}
			if err == nil && (len(files) != 1 || !slices.Equal(files[0].kinds, test.want)) {
				t.Errorf("got %+v, want %q", files, test.want)
			}
		})
	}
}

func TestRender_NoLicense(t *testing.T) {
	notice, err := licenseFiles(writeFile(t, "NOTICE", "Written by somebody."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := render([]component{{name: "example.com/a", version: "v1.0.0", files: notice}}); err == nil {
		t.Error("a component that has only a notice is accepted")
	}
}

func TestRender_SourceOfMPL(t *testing.T) {
	files := []licenseFile{{kinds: []string{"MPL-2.0"}, text: "text\n"}}
	text, err := render([]component{{name: "github.com/owner/name", version: "v1.2.3", files: files}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "https://github.com/owner/name/tree/v1.2.3") {
		t.Errorf("no address of the source:\n%s", text)
	}
	if _, err := render([]component{{name: "example.com/name", version: "v1.2.3", files: files}}); err == nil {
		t.Error("a component under MPL-2.0 without an address of its source is accepted")
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}
