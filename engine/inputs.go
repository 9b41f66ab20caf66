package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Inputs are files that the program of a sink reads beside the document, such as certificates.
type Inputs interface {
	// Patterns returns what the files are named by. It never changes.
	Patterns() []string
	// Read returns for each file that there is something that is the same for the same content.
	Read() map[string]string
	// Watch calls changed with what Read returns soon after that has changed. It blocks and returns nil when ctx is done.
	Watch(ctx context.Context, changed func(map[string]string)) error
}

// inputs is what a pipeline knows of the files that the program of its sink reads beside the document. All fields but the first two
// belong to the pipeline's goroutine.
type inputs struct {
	watched Inputs // nil for none
	changes *mailbox[map[string]string]

	files   map[string]string // as they were when they were last seen to be whole; nil before
	applied map[string]string // as they were with the document that the sink took last; nil where that is not known
	reread  bool              // the sink is to look whether any of them has changed, watched or not
}

// watchInputs tells the pipeline of changes until ctx is done.
func (p *pipeline) watchInputs(ctx context.Context) {
	if err := p.inputs.watched.Watch(ctx, p.inputs.changes.put); err != nil {
		p.log.Error("files are no longer watched: restart, or apply when one of them has changed", "error", err)
	}
}

// rereadInputs has the sink asked about the document that is in effect as well, because something that its program reads beside
// that document may have changed. What was refused may be good now.
func (p *pipeline) rereadInputs(ctx context.Context) {
	p.inputs.reread = true
	p.startAnew()
	if _, ok := p.snapshots.latest(); !ok {
		p.rereadAccepted(ctx)
	}
}

// rereadAccepted gives the sink the last good document again where the newest one is none: the files concern that one.
func (p *pipeline) rereadAccepted(ctx context.Context) {
	if p.inputs.reread && p.accepted != nil && p.owed == nil {
		p.reapply(ctx)
	}
}

// addTo returns doc with what a sink has to know of the files.
func (i *inputs) addTo(doc sdk.Document) sdk.Document {
	doc.Reread = i.reread
	if i.watched == nil {
		return doc
	}
	doc.Watched = digestOfList(i.watched.Patterns()) + "." + digestOfFiles(i.files)
	if i.applied != nil {
		doc.Changed = changedFiles(i.applied, i.files)
	}
	return doc
}

// conclude notes that the sink has taken a document with the files.
func (i *inputs) conclude() { i.reread, i.applied = false, i.files }

func digestOfList(list []string) string {
	h := sha256.New()
	for _, item := range list {
		fmt.Fprintf(h, "%q\n", item)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func digestOfFiles(files map[string]string) string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(files)) {
		list = append(list, path, files[path])
	}
	return digestOfList(list)
}

// shownFiles is how many files a sentence names.
const shownFiles = 3

// changedFiles names the first files that differ between the two, for people.
func changedFiles(before, now map[string]string) []string {
	var changed []string
	for path, content := range now {
		if was, there := before[path]; !there || was != content {
			changed = append(changed, strings.ToValidUTF8(path, "\uFFFD"))
		}
	}
	for path := range before {
		if _, there := now[path]; !there {
			changed = append(changed, strings.ToValidUTF8(path, "\uFFFD"))
		}
	}
	slices.Sort(changed)
	if more := len(changed) - shownFiles; more > 0 {
		changed = append(changed[:shownFiles], fmt.Sprintf("and %d more", more))
	}
	return changed
}
