package systemd

import (
	"fmt"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// maxText bounds the status in characters: systemctl shows it in one line.
const maxText = 200

// describe returns the status in one line, without secrets.
func describe(status server.Status) string { return oneLine(summary(status)) }

func oneLine(message string) string {
	text := []rune(engine.OneLine(engine.Masked(message)))
	if len(text) > maxText {
		text = append(text[:maxText-1], '…')
	}
	return string(text)
}

// summary says what the daemon waits for, else the worst problem, else how much it serves.
func summary(status server.Status) string {
	if name, waits := waitsForSource(status); waits {
		return "waiting for the first snapshot of " + name
	}
	if status.State == server.StateHealthy {
		services, instances := 0, 0
		for _, source := range status.Sources {
			services += source.Services
			instances += source.Instances.Alive
		}
		return fmt.Sprintf("%s: %s, %s", status.State, count(services, "service"), count(instances, "instance"))
	}
	for _, reason := range status.Reasons {
		if reason.State == status.State {
			return status.State + ": " + reason.Message
		}
	}
	for _, p := range status.Pipelines {
		for _, reason := range p.Reasons {
			if reason.State != status.State {
				continue
			}
			if len(status.Pipelines) > 1 {
				return fmt.Sprintf("%s: pipeline %s: %s", status.State, p.Name, reason.Message)
			}
			return status.State + ": " + reason.Message
		}
	}
	return status.State
}

// waitsForSource returns the source of the first pipeline that has applied nothing because its source has emitted nothing, and
// there is no snapshot of an earlier run either.
func waitsForSource(status server.Status) (name string, waits bool) {
	for _, p := range status.Pipelines {
		if p.Generation != 0 {
			continue
		}
		for _, source := range status.Sources {
			if source.Name == p.Source && source.LastSnapshot == nil && source.Services == 0 {
				return source.Name, true
			}
		}
	}
	return "", false
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
