package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/filewatch"
)

// inputs makes what the pipelines watch beside their templates. Those of before that watch the same are taken as they are.
func (o opener) inputs(before *parts) map[string]engine.Inputs {
	all := map[string]engine.Inputs{}
	for _, name := range sortedKeys(o.cfg.Pipelines) {
		p := o.cfg.Pipelines[name]
		if len(p.Watch) == 0 {
			continue
		}
		own := ownFiles(o.cfg, p)
		if standing, ok := before.inputs[name]; ok && slices.Equal(standing.Patterns(), p.Watch) &&
			slices.Equal(own, ownFiles(before.cfg, before.cfg.Pipelines[name])) {
			all[name] = standing
			continue
		}
		all[name] = filewatch.NewGlobs(p.Watch, func(path string) bool { return isOwn(own, path) })
	}
	return all
}

// ownFiles are the files that the pipeline's sink writes, as far as that is known: watching them would have a sink apply
// again what it has just applied.
func ownFiles(cfg *config.Config, p config.Pipeline) []string {
	sink := cfg.Sinks[p.Sink]
	if _, replaced := cfg.Plugins[sink.Type]; replaced {
		return nil
	}
	var own []string
	for _, key := range fileKeys[sink.Type] {
		path, _ := sink.Block[key].(string)
		if path == "" {
			continue
		}
		path, _ = filepath.Abs(path)
		dir, name := filepath.Split(path)
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			dir = resolved
		}
		if key == "pid_file" { // HAProxy's base file and output go beside it
			stem := filepath.Join(dir, strings.TrimSuffix(name, filepath.Ext(name)))
			own = append(own, filepath.Join(dir, name), stem+".base.cfg", stem+".stderr.log")
			continue
		}
		own = append(own, filepath.Join(dir, name), filepath.Join(dir, name+".applied"))
		for _, companion := range sortedKeys(p.Files) {
			own = append(own, filepath.Join(dir, companion))
		}
	}
	return own
}

// isOwn reports whether the path, or what it leads to, is among those.
func isOwn(own []string, path string) bool {
	path, _ = filepath.Abs(path)
	resolved, err := filepath.EvalSymlinks(path)
	return slices.Contains(own, path) || err == nil && slices.Contains(own, resolved)
}

// tellWatched notes what the patterns of the pipeline come to that may not be meant so.
func (c pipelineCheck) tellWatched(own []string) {
	matched := 0
	for _, pattern := range c.pipeline.Watch {
		found := filewatch.Match(pattern)
		matched += len(found)
		if len(found) == 0 {
			c.note(fmt.Sprintf("pipeline %s: watch pattern %s matches no file yet", c.name, pattern))
		}
		for _, path := range found {
			if isOwn(own, path) {
				c.note(fmt.Sprintf("pipeline %s: %s is not watched, because the sink writes it", c.name, path))
			}
		}
	}
	if matched > filewatch.MaxWatched {
		c.note(fmt.Sprintf("pipeline %s: watch matches %d files, and no more than %d are watched", c.name, matched,
			filewatch.MaxWatched))
	}
}
