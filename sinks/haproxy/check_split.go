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

// HAProxy, up to 3.4 at least, stops reading a file after 50 faults, at most one per line, and continues with the next file. A
// main file with more faults is therefore checked a second time, split into pieces that are too short for 50 faults, so that two
// checks find all faults.

// maxRepeated bounds how many lines of a section are repeated in each of its pieces.
const maxRepeated = 200

// withAllFaults returns the rejection of a check, completed by the faults after the ones at which HAProxy stopped reading.
func (s *Sink) withAllFaults(ctx context.Context, st *stage.Stage, o program.Outcome, err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || !messages.FaultLimitReached(o.Output) {
		return err
	}
	positions, pieceErr := s.checkInPieces(ctx, st)
	if pieceErr != nil || len(positions) < len(rejection.Positions) {
		return err // it has at least the first faults
	}
	return &sdk.Rejection{Err: rejection.Err, Positions: positions}
}

// checkInPieces returns the positions of the faults that HAProxy finds when it reads the main file in pieces. It returns none if
// the file cannot be split.
func (s *Sink) checkInPieces(ctx context.Context, st *stage.Stage) ([]sdk.Position, error) {
	pieces := split(st.Files()[0].Content)
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
	o, err := s.checkWithHAProxy(ctx, st, paths...)
	if err != nil {
		return nil, err
	}
	found := messages.Places(st.Files(), messages.Faults(inWholeFile(o.Output, dir, pieces, st.Files()[0].Path)))
	found = slices.DeleteFunc(found, func(p sdk.Position) bool { return p.Line == 0 })
	slices.SortStableFunc(found, func(a, b sdk.Position) int { return cmp.Compare(a.Line, b.Line) })
	return found, nil
}

// inWholeFile returns output with the positions in the pieces, which are in dir, as positions in the file at path. A repeated
// line becomes line 0.
func inWholeFile(output, dir string, pieces []piece, path string) string {
	position := regexp.MustCompile(regexp.QuoteMeta(dir+"/") + `(\d+):(\d+)`)
	return position.ReplaceAllStringFunc(output, func(found string) string {
		m := position.FindStringSubmatch(found)
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
	lines   []int // for each line its number in the whole file; 0 for a line that is repeated from another piece
	faults  int   // how many it can have
}

func (p *piece) add(line string, number int) {
	p.content = append(p.content, line...)
	p.lines = append(p.lines, number)
	if len(strings.Fields(line)) > 0 {
		p.faults++
	}
}

// split splits a configuration into pieces that, if possible, cannot have messages.FaultLimit faults. A long section of servers
// becomes several sections of one name, which is a fault of its own; each repeats the section's other lines, on which those of
// servers may depend. It returns none if the meaning of a line depends on the file, or on a condition.
func split(config []byte) []piece {
	pieces := []piece{{}}
	var section, repeated []string // its first line and, if it can be continued, its lines other than servers
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
