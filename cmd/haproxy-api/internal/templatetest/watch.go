package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// viewer shows what each edit of a template set does to the rendering of one snapshot.
type viewer struct {
	cmd       *cobra.Command
	options   renderOptions
	templates engine.Templates
	snap      sdk.Snapshot

	last   []sdk.File // nil until it rendered
	notes  []string
	broken bool
}

// watchRender renders at once and after every save, until the command's context is done.
func watchRender(cmd *cobra.Command, o renderOptions, p config.Pipeline, snap sdk.Snapshot) error {
	if p.Template == "" && len(p.Files) == 0 && len(p.Partials) == 0 {
		return &usageError{errors.New("the built-in template does not change: name a file to watch with --template")}
	}
	v := &viewer{cmd: cmd, options: o, templates: newTemplates(p), snap: snap}
	// A rendering that nobody gets, as when the reader of a pipe is gone, is no reason to go on.
	var unwritten error
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	look := func() {
		if unwritten = v.look(); unwritten != nil {
			stop()
		}
	}
	look()
	if err := v.templates.Watch(ctx, look); err != nil {
		return err
	}
	return unwritten
}

// look renders the templates as they are now and shows what is new. Its error is about where it shows it.
func (v *viewer) look() error {
	template, err := v.templates.Load()
	if err != nil {
		v.complain(err)
		return nil
	}
	files, notes, err := template.Render(v.cmd.Context(), v.snap)
	if err != nil {
		v.complain(err)
		return nil
	}
	if v.broken {
		v.say(v.colors().good("mended: it renders again"))
	}
	v.broken = false
	v.tell(notes)
	return v.show(files)
}

// show prints the first rendering whole, and of each one after that the difference to the one before.
func (v *viewer) show(files []sdk.File) error {
	before, out := v.last, v.cmd.OutOrStdout()
	v.last = files
	if before == nil {
		return v.options.write(out, files)
	}
	changes := compareFiles(before, files)
	if len(changes) == 0 {
		v.say("saved: it renders the same")
		return nil
	}
	if v.options.output != "" {
		if err := v.options.write(out, files); err != nil {
			return err
		}
	}
	_, err := out.Write(paletteFor(out).diff(changes))
	return err
}

// compareFiles compares two renderings of one template set.
func compareFiles(before, after []sdk.File) []byte {
	var changes []byte
	for i, f := range after {
		changes = append(changes, unified(
			side{path: before[i].Name, from: "before", content: before[i].Content},
			side{path: f.Name, from: "saved " + time.Now().Format(time.TimeOnly), content: f.Content},
		)...)
	}
	return changes
}

func (v *viewer) complain(err error) {
	v.broken = true
	v.say(v.colors().bad("not rendered:") + " " + engine.Detail(err))
}

// tell shows notes that are new: the same ones come with every rendering.
func (v *viewer) tell(notes []string) {
	for _, note := range notes {
		if !slices.Contains(v.notes, note) {
			fmt.Fprintln(v.cmd.ErrOrStderr(), "note:", engine.OneLine(note))
		}
	}
	v.notes = notes
}

func (v *viewer) say(sentence string) {
	fmt.Fprintln(v.cmd.ErrOrStderr(), time.Now().Format(time.TimeOnly), sentence)
}

func (v *viewer) colors() palette { return paletteFor(v.cmd.ErrOrStderr()) }
