package engine

import "context"

// A task is what an engine runs in a goroutine of its own: a source or a pipeline.
type task interface {
	run(ctx context.Context)
	start(ctx context.Context, run func(context.Context))
	cancel()
	stop()
}

// running is the state of a task. Only the goroutine of [Engine.Run] accesses it.
type running struct {
	cancelRun context.CancelFunc // nil if the task does not run
	done      chan struct{}
}

// start runs the task unless it runs already.
func (r *running) start(ctx context.Context, run func(context.Context)) {
	if r.cancelRun != nil {
		return
	}
	ctx, r.cancelRun = context.WithCancel(ctx)
	done := make(chan struct{})
	r.done = done
	go func() {
		defer close(done)
		run(ctx)
	}()
}

// cancel makes the task stop soon, if it runs.
func (r *running) cancel() {
	if r.cancelRun != nil {
		r.cancelRun()
	}
}

// stop makes the task stop, if it runs, and waits for that.
func (r *running) stop() {
	if r.cancelRun == nil {
		return
	}
	r.cancelRun()
	<-r.done
	r.cancelRun = nil
}

// stopTasks stops tasks, all at the same time.
func stopTasks(tasks []task) {
	for _, t := range tasks {
		t.cancel()
	}
	for _, t := range tasks {
		t.stop()
	}
}
