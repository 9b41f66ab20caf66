package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// defaultPage and maxPage are how many changes an answer has at most, without and with the parameter limit.
	defaultPage = 50
	maxPage     = 200
)

// Generations is a page of a pipeline's history, the newest change first. Its changes are summaries: see
// [history.Change.Summary].
type Generations struct {
	Changes []history.Change `json:"changes"`
	Next    uint64           `json:"next,omitempty"` // the parameter before of the next page; 0 if this is the last one
}

// A changeFilter selects entries of the history.
type changeFilter struct {
	before                      uint64 // 0 for any generation
	limit                       int
	actions, outcomes, triggers []string // nil for all
	since                       time.Time
}

// newChangeFilter returns the filter in a query. The error names the first parameter that is invalid.
func newChangeFilter(query url.Values) (changeFilter, error) {
	f := changeFilter{limit: defaultPage}
	for name, values := range query {
		value := values[0]
		var err error
		switch name {
		case "before":
			f.before, err = parseGeneration(value)
		case "limit":
			if f.limit, err = strconv.Atoi(value); err != nil || f.limit < 1 || f.limit > maxPage {
				err = fmt.Errorf("it must be a number from 1 to %d", maxPage)
			}
		case "since":
			f.since, err = parseTime(value)
		case "action":
			f.actions, err = parseNames(value, slices.Concat(history.Actions(), history.Events()))
		case "outcome":
			f.outcomes, err = parseNames(value, history.Outcomes())
		case "trigger":
			f.triggers, err = parseNames(value, history.Triggers())
		}
		if err != nil {
			return changeFilter{}, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return f, nil
}

// parseNames returns the names in a list with commas, and nil for an empty one. The error says that a name is none of known.
func parseNames(list string, known []string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is none of %s", engine.OneLine(name), strings.Join(known, ", "))
		}
	}
	return names, nil
}

func parseGeneration(text string) (uint64, error) {
	generation, err := strconv.ParseUint(text, 10, 64)
	if err != nil || generation == 0 {
		return 0, errors.New("it must be the number of a generation")
	}
	return generation, nil
}

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("it must be a time such as 2026-01-02T15:04:05Z")
	}
	return t, nil
}

// selects reports whether the filter selects c, apart from its limit.
func (f changeFilter) selects(c history.Change) bool {
	has := func(names []string, name string) bool { return names == nil || slices.Contains(names, name) }
	return (f.actions == nil || c.HasAction(f.actions)) && has(f.outcomes, c.Outcome) && has(f.triggers, c.Trigger.Kind) &&
		(f.since.IsZero() || !c.Updated.Before(f.since))
}

// page returns the page of all, which is sorted from the newest change to the oldest.
func (f changeFilter) page(all []history.Change) Generations {
	page := Generations{Changes: []history.Change{}}
	for _, c := range all {
		if !f.selects(c) {
			continue
		}
		if len(page.Changes) == f.limit {
			page.Next = page.Changes[f.limit-1].Generation
			break
		}
		page.Changes = append(page.Changes, c.Summary())
	}
	return page
}

// getGenerations answers with a page of the pipeline's history.
func (s *Server) getGenerations(w http.ResponseWriter, r *http.Request) {
	log, err := s.cfg.Engine.History(r.PathValue("name"))
	if err != nil {
		writeNoPipeline(w)
		return
	}
	var filter changeFilter
	query, err := parseQuery(r, "before", "limit", "since", "action", "outcome", "trigger")
	if err == nil {
		filter, err = newChangeFilter(query)
	}
	if err != nil {
		writeErrors(w, http.StatusBadRequest, err.Error())
		return
	}
	all, _ := log.List(filter.before, maxPage)
	writeJSON(w, http.StatusOK, filter.page(all))
}

// getGeneration answers with one entry of the pipeline's history.
func (s *Server) getGeneration(w http.ResponseWriter, r *http.Request) {
	if _, change, ok := s.findChange(w, r); ok {
		writeJSON(w, http.StatusOK, change)
	}
}

// findChange returns the history of the pipeline and the entry that the path names. If there is none, it answers the request and
// returns false.
func (s *Server) findChange(w http.ResponseWriter, r *http.Request) (*history.Log, history.Change, bool) {
	log, err := s.cfg.Engine.History(r.PathValue("name"))
	if err != nil {
		writeNoPipeline(w)
		return nil, history.Change{}, false
	}
	generation, err := parseGeneration(r.PathValue("generation"))
	if err != nil {
		writeErrors(w, http.StatusBadRequest, "generation: "+err.Error())
		return nil, history.Change{}, false
	}
	change, ok := log.Get(generation)
	if !ok {
		newest, _ := log.List(0, 1)
		if len(newest) > 0 && generation < newest[0].Generation {
			writeErrors(w, http.StatusGone, fmt.Sprintf("generation %d is no longer kept", generation))
		} else {
			writeErrors(w, http.StatusNotFound, fmt.Sprintf("there is no generation %d yet", generation))
		}
	}
	return log, change, ok
}

// getDiff answers with the unified diff of one entry. It is empty if the entry has no new document.
func (s *Server) getDiff(w http.ResponseWriter, r *http.Request) {
	log, change, ok := s.findChange(w, r)
	if !ok {
		return
	}
	if change.DiffDropped {
		writeErrors(w, http.StatusGone, fmt.Sprintf("the diff of generation %d is no longer kept", change.Generation))
		return
	}
	writeText(w, "text/x-diff; charset=utf-8", engine.Printable(engine.Masked(log.Diff(change.Generation))))
}

// getDocument answers with a file of the document that an entry is about: the main one, or the one that the parameter file names.
// Secrets are masked unless the parameter raw is true, which needs more rights.
func (s *Server) getDocument(w http.ResponseWriter, r *http.Request) {
	query, err := parseQuery(r, "file", "raw")
	if err != nil {
		writeErrors(w, http.StatusBadRequest, err.Error())
		return
	}
	raw := false
	if query.Has("raw") {
		if raw, err = strconv.ParseBool(query.Get("raw")); err != nil {
			writeErrors(w, http.StatusBadRequest, "parameter raw: it must be true or false")
			return
		}
	}
	if raw && !s.access.Load().authorizeSecrets(w, r) {
		return
	}
	log, change, ok := s.findChange(w, r)
	if !ok {
		return
	}
	doc, ok := log.DocumentOf(change.Generation)
	if !ok || len(doc.Files) == 0 {
		writeErrors(w, http.StatusGone, fmt.Sprintf("the document of generation %d is no longer kept, or it was never applied",
			change.Generation))
		return
	}
	file, err := fileOf(doc, query.Get("file"))
	if err != nil {
		writeErrors(w, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if raw {
		_, _ = w.Write(file.Content)
		return
	}
	writeMasked(w, file.Content)
}

// maskedBytes is how much of a document is masked at once, apart from the rest of a line.
const maskedBytes = 64 << 10

// writeMasked writes content with secrets masked. It masks a part at a time, so that many clients that read slowly do not hold
// many copies of a large document.
func writeMasked(w io.Writer, content []byte) {
	part := maskedBytes
	if bytes.Contains(content, []byte("-----BEGIN")) { // a private key has several lines
		part = len(content)
	}
	for len(content) > 0 {
		end := min(part, len(content))
		if rest := bytes.IndexByte(content[end:], '\n'); rest >= 0 {
			end += rest + 1
		} else {
			end = len(content)
		}
		if _, err := io.WriteString(w, engine.Printable(engine.Masked(string(content[:end])))); err != nil {
			return // the client is gone
		}
		content = content[end:]
	}
}

// fileOf returns the named file of doc, or the main one for "".
func fileOf(doc sdk.Document, name string) (sdk.File, error) {
	var names []string
	for _, file := range doc.Files {
		if name == "" || file.Name == name {
			return file, nil
		}
		names = append(names, file.Name)
	}
	return sdk.File{}, fmt.Errorf("the document has no such file; it has %s", strings.Join(names, ", "))
}

// writeText writes text. Write errors are ignored, because they mean that the client is gone.
func writeText(w http.ResponseWriter, contentType, text string) {
	w.Header().Set("Content-Type", contentType)
	_, _ = io.WriteString(w, text) //nolint:gosec // browsers show it as text
}
