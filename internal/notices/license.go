package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenseKinds are the licenses that components may have, each with phrases that all of its texts contain.
var licenseKinds = []struct {
	kind    string
	phrases []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0", "Grant of Patent License"}},
	{"Apache-2.0", []string{"Licensed under the Apache License, Version 2.0"}},
	{"MPL-2.0", []string{"Mozilla Public License", "version 2.0", "Incompatible With Secondary Licenses"}},
	{"MIT", []string{"Permission is hereby granted, free of charge, to any person obtaining a copy", "THE SOFTWARE IS PROVIDED"}},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "Neither the name"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms", "this list of conditions"}},
}

// restrictions are titles of licenses that may follow one of licenseKinds in the same file. The Mozilla Public License mentions
// some of them in lower case.
var restrictions = []string{"GENERAL PUBLIC LICENSE", "Commons Clause", "Server Side Public License", "Business Source License"}

var (
	licenseNames = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-.].*)?$`)
	noticeNames  = regexp.MustCompile(`(?i)^notice([-.].*)?$`)
	whiteSpace   = regexp.MustCompile(`\s+`)
)

// kindsOf returns which of licenseKinds a text contains. It returns none if the text has other conditions.
func kindsOf(text string) []string {
	line := whiteSpace.ReplaceAllString(text, " ")
	contains := func(phrase string) bool { return strings.Contains(line, phrase) }
	if slices.ContainsFunc(restrictions, contains) {
		return nil
	}
	var kinds []string
	for _, known := range licenseKinds {
		missing := slices.ContainsFunc(known.phrases, func(phrase string) bool { return !contains(phrase) })
		isThreeClause := known.kind == "BSD-2-Clause" && slices.Contains(kinds, "BSD-3-Clause")
		if !missing && !isThreeClause && !slices.Contains(kinds, known.kind) {
			kinds = append(kinds, known.kind)
		}
	}
	return kinds
}

// licenseFiles returns the licenses and notices in a directory, and an error for a license of another kind.
func licenseFiles(directory string) ([]licenseFile, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var files []licenseFile
	for _, entry := range entries {
		license, notice := licenseNames.MatchString(entry.Name()), noticeNames.MatchString(entry.Name())
		if !license && !notice || entry.IsDir() || strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file := filepath.Join(directory, entry.Name())
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text := strings.TrimSpace(strings.ReplaceAll(string(content), "\r\n", "\n")) + "\n"
		var kinds []string
		if license {
			if kinds = kindsOf(text); len(kinds) == 0 {
				return nil, fmt.Errorf("%s is not one of licenseKinds: replace the component, or add the kind", file)
			}
		}
		files = append(files, licenseFile{kinds: kinds, text: text})
	}
	return files, nil
}
