package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// HAProxy, up to 3.4 at least, stops reading a file after 50 faults, at most one a line. It does read the files after it. So a
// file with more faults is checked once more in pieces, which are too short for so many, and two checks find all faults.

// maxRepeated bounds how many lines of a section are repeated in each of its pieces.
const maxRepeated = 200

// withAllPlaces returns the rejection of a check with the faults that HAProxy did not come to.
func (s *Sink) withAllPlaces(ctx context.Context, st *stage.Stage, o program.Outcome, err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || !messages.FaultLimitReached(o.Output) {
		return err
	}
	places, more := s.checkInPieces(ctx, st)
	if more != nil || len(places) < len(rejection.Positions) {
		return err // its faults are the first ones, in any case
	}
	return &sdk.Rejection{Err: rejection.Err, Positions: places}
}

// checkInPieces returns the places of the main file's faults that come to light when HAProxy reads it, and none where it cannot
// be taken apart.
func (s *Sink) checkInPieces(ctx context.Context, st *stage.Stage) ([]sdk.Position, error) {
	pieces := piecesOf(st.Files()[0].Content)
	if len(pieces) == 0 {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "haproxy-api-check-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var paths []string
	for i, p := range pieces {
		paths = append(paths, filepath.Join(dir, strconv.Itoa(i)))
		if err := os.WriteFile(paths[i], p.content, 0o600); err != nil {
			return nil, err
		}
	}
	o, err := s.checkMain(ctx, st, paths)
	if err != nil {
		return nil, err
	}
	found := messages.Places(st.Files(), messages.Faults(inWhole(o.Output, dir, pieces, st.Files()[0].Path)))
	found = slices.DeleteFunc(found, func(p sdk.Position) bool { return p.Line == 0 })
	slices.SortStableFunc(found, func(a, b sdk.Position) int { return cmp.Compare(a.Line, b.Line) })
	return found, nil
}

// inWhole returns output with places in the pieces, which are in dir, as places in the file at path. A line that is repeated
// becomes line 0.
func inWhole(output, dir string, pieces []piece, path string) string {
	place := regexp.MustCompile(regexp.QuoteMeta(dir+"/") + `(\d+):(\d+)`)
	return place.ReplaceAllStringFunc(output, func(found string) string {
		m := place.FindStringSubmatch(found)
		number, _ := strconv.Atoi(m[1])
		line, _ := strconv.Atoi(m[2])
		if number < len(pieces) && line > 0 && line <= len(pieces[number].lines) {
			return fmt.Sprintf("%s:%d", path, pieces[number].lines[line-1])
		}
		return path + ":0"
	})
}

// A piece is a part of a configuration file.
type piece struct {
	content []byte
	lines   []int // for each line its number in the whole; 0 for one that another piece has too
	faults  int   // it can have so many
}

func (p *piece) add(line string, number int) {
	p.content = append(p.content, line...)
	p.lines = append(p.lines, number)
	if len(strings.Fields(line)) > 0 {
		p.faults++
	}
}

// piecesOf takes a configuration apart so that no piece can have messages.FaultLimit faults, as far as possible. A long section
// of servers becomes several of one name, which is a fault of its own; each repeats the section's other lines, on which those of
// servers may depend. There are none where the meaning of a line depends on the file, or on a condition.
func piecesOf(config []byte) []piece {
	pieces := []piece{{}}
	var section, repeated []string // its first line and, for one that can be continued, the others that are no servers
	number := 0
	for line := range strings.Lines(string(config)) {
		number++
		words := append(strings.Fields(line), "")
		first := syntax.StartsProxy(words[0])
		last := &pieces[len(pieces)-1]
		switch {
		case strings.HasPrefix(words[0], ".") || words[0] == "default-path":
			return nil
		case syntax.StartsSection(words[0]):
			if last.faults >= messages.FaultLimit/2 {
				pieces = append(pieces, piece{})
			}
			section, repeated = nil, nil
			if first {
				section = []string{line}
			}
		case last.faults >= messages.FaultLimit-1 && len(section) > 0 && len(repeated) <= maxRepeated:
			pieces = append(pieces, piece{})
			for _, again := range slices.Concat(section, repeated) {
				pieces[len(pieces)-1].add(again, 0)
			}
			pieces[len(pieces)-1].faults = 1 // its name; faults of what is repeated are rare
		}
		pieces[len(pieces)-1].add(line, number)
		if len(section) > 0 && !first && !strings.HasPrefix(words[0], "server") {
			repeated = append(repeated, line)
		}
	}
	return pieces
}
