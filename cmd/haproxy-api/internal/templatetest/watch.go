package templatetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// A Watcher renders one snapshot whenever a file of a template set is saved, and prints what the edit changes.
type Watcher struct {
	Templates templates.Config
	Snapshot  sdk.Snapshot
	Out       io.Writer              // receives the diffs
	Log       io.Writer              // receives notes and errors
	Write     func([]sdk.File) error // receives the first rendering, and each changed one if WriteAll is set
	WriteAll  bool

	last   []sdk.File // nil before the first successful rendering
	notes  []string   // of the last rendering
	failed bool       // the last rendering failed
}

// Run renders at once and after every save. It returns nil when ctx is done, and an error if the output cannot be written, for
// example because the reader of a pipe is gone.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	set := templates.New(w.Templates)
	var writeErr error
	update := func() {
		if writeErr = w.update(ctx, set); writeErr != nil {
			stop(writeErr)
		}
	}
	update()
	if err := set.Watch(ctx, func(string) { update() }); err != nil {
		return err
	}
	return writeErr
}

// update renders the templates as they are now and prints what changed. Its error is about writing.
func (w *Watcher) update(ctx context.Context, set *templates.Set) error {
	colors := terminal.PaletteFor(w.Log)
	files, notes, err := render(ctx, set, w.Snapshot)
	if err != nil {
		w.failed = true
		w.log(colors.Failure("not rendered:") + " " + engine.Detail(err))
		return nil
	}
	if w.failed {
		w.log(colors.Success("template renders again"))
	}
	w.failed = false
	w.printNotes(notes)
	return w.print(files)
}

func render(ctx context.Context, set *templates.Set, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	template, err := set.Load()
	if err != nil {
		return nil, nil, err
	}
	return template.Render(ctx, snap)
}

// print writes the first rendering as a whole, and of each later one the difference to the previous one.
func (w *Watcher) print(files []sdk.File) error {
	before := w.last
	w.last = files
	if before == nil {
		return w.Write(files)
	}
	var changes []byte
	for i, f := range files { // both are renderings of one template set
		changes = append(changes, unifiedDiff(
			file{path: before[i].Name, version: "before", content: before[i].Content},
			file{path: f.Name, version: "saved " + time.Now().Format(time.TimeOnly), content: f.Content},
		)...)
	}
	if len(changes) == 0 {
		w.log("saved: the rendering is unchanged")
		return nil
	}
	if w.WriteAll {
		if err := w.Write(files); err != nil {
			return err
		}
	}
	_, err := w.Out.Write(terminal.PaletteFor(w.Out).Diff(changes))
	return err
}

// printNotes prints the notes that the previous rendering did not have.
func (w *Watcher) printNotes(notes []string) {
	for _, note := range notes {
		if !slices.Contains(w.notes, note) {
			fmt.Fprintln(w.Log, "note:", engine.OneLine(note))
		}
	}
	w.notes = notes
}

func (w *Watcher) log(sentence string) {
	fmt.Fprintln(w.Log, time.Now().Format(time.TimeOnly), sentence)
}
