package engine

import "context"

// A task is what an engine runs beside others: a source or a pipeline.
type task interface {
	run(ctx context.Context)
	begin(ctx context.Context, run func(context.Context))
	ask()
	end()
}

// running is a task's state. It belongs to the goroutine of [Engine.Run].
type running struct {
	cancel context.CancelFunc // nil while the task does not run
	done   chan struct{}
}

// begin runs the task unless it runs already.
func (r *running) begin(ctx context.Context, run func(context.Context)) {
	if r.cancel != nil {
		return
	}
	ctx, r.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	r.done = done
	go func() {
		defer close(done)
		run(ctx)
	}()
}

// ask has the task end, if it runs; end waits for that as well.
func (r *running) ask() {
	if r.cancel != nil {
		r.cancel()
	}
}

func (r *running) end() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	<-r.done
	r.cancel = nil
}

// start runs all that does not run yet.
func (e *Engine) start(ctx context.Context) {
	for _, s := range e.sources {
		s.recall() // before any pipeline looks
	}
	for t := range e.tasks {
		t.begin(ctx, t.run)
	}
}

// stop stops those, all at once.
func (e *Engine) stop(which func(task) bool) {
	var stopping []task
	for t := range e.tasks {
		if which(t) {
			t.ask()
			stopping = append(stopping, t)
		}
	}
	for _, t := range stopping {
		t.end()
	}
}

// tasks are all sources and pipelines.
func (e *Engine) tasks(yield func(task) bool) {
	for _, s := range e.sources {
		if !yield(s) {
			return
		}
	}
	for _, p := range e.pipelines {
		if !yield(p) {
			return
		}
	}
}
