package sdk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// A Document is what one pipeline rendered from one [Snapshot]. It is never modified.
type Document struct {
	Pipeline   string
	Generation uint64 // grows with every document of the pipeline that differs from the previous one
	Digest     string // see [DigestOf]; documents with equal digests have equal files
	Files      []File // the main file first, then its companions
	Retry      bool   // try also what failed to load before, see [NotLoaded]: on request, or because enough time has passed
	// Watched is the present ID of the [Watched] files, which the program loads with the document if it loads it.
	Watched string
	// LoadFailure says why the last document of the same template failed to load, see [NotLoaded]; empty if it did not. A
	// plugin that was restarted since cannot know that by itself.
	LoadFailure string
}

// A File is one rendered file. The sink decides where it is written.
type File struct {
	Name    string
	Content []byte
}

// DigestOf returns the SHA-256 over names and contents of files, in hexadecimal.
func DigestOf(files []File) string {
	h := sha256.New()
	for _, f := range files {
		for _, part := range [][]byte{[]byte(f.Name), f.Content} {
			// The length before each part distinguishes files whose parts differ only in where they are divided.
			_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
			_, _ = h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Watched are the files that the configuration watches for the program of a sink.
type Watched struct {
	// ID identifies the files and, after a dot, their content. It is empty if no files are watched.
	ID string
	// Changed names some changed files, for messages. It may be empty although files have changed.
	Changed []string
}

// ChangedSince reports whether the content of the files has changed. loaded is the ID of the last [Document] or Reread that
// succeeded, and empty if that is not known. If other files are watched than before, none of them has changed.
func (w Watched) ChangedSince(loaded string) bool {
	which, content, watches := strings.Cut(w.ID, ".")
	whichLoaded, contentLoaded, _ := strings.Cut(loaded, ".")
	return watches && which == whichLoaded && content != contentLoaded
}
