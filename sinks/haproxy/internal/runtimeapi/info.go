package runtimeapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// InfoTimeout is long, because each request that is given up may occupy one of the master's ten connections.
	InfoTimeout = time.Minute
	// StartingInfoTimeout is for workers that may still be starting: HAProxy 3.2 never answers some of the requests that reach a
	// worker then.
	StartingInfoTimeout = 2 * time.Second
)

// An Info is the answer of one process to "show info".
type Info map[string]string

// ParseInfo reads lines of the form "Name: value".
func ParseInfo(answer string) Info {
	values := Info{}
	for line := range strings.Lines(answer) {
		if name, value, found := strings.Cut(line, ":"); found {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return values
}

// Pid returns the id of the process that answered, or 0 if there is none or it is stopping.
func (i Info) Pid() int {
	pid, err := strconv.Atoi(i["Pid"])
	if err != nil || pid < 0 || i["Stopping"] != "0" && i["Stopping"] != "" {
		return 0
	}
	return pid
}

// ServedBy reports whether the process pid answered and is not stopping.
func (i Info) ServedBy(pid int) bool { return pid > 0 && i.Pid() == pid }

// ParseVersion reads the first two numbers of a version such as 2.6.12-1+deb12u4. It returns 0.0 for one that it cannot read.
func ParseVersion(version string) (major, minor int) {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-")
	major, errMajor := strconv.Atoi(first)
	minor, errMinor := strconv.Atoi(second)
	if errMajor != nil || errMinor != nil {
		return 0, 0
	}
	return major, minor
}

// AskInfo asks the process at an endpoint for its info, on a connection of its own. It waits until ctx is done.
func AskInfo(ctx context.Context, to Endpoint) (Info, error) {
	command := "show info"
	if to.Worker != 0 {
		command = "@!" + strconv.Itoa(to.Worker) + " " + command
	}
	answer, err := Ask(ctx, to.Path, command)
	if err != nil {
		return nil, err
	}
	return ParseInfo(answer), nil
}

// Infos asks processes for their info, with at most one request to each at a time. It is safe for concurrent use.
type Infos struct{ group *Group[Info] }

// NewInfos returns an Infos whose requests end after timeout, and when stopped is closed.
func NewInfos(stopped <-chan struct{}, timeout time.Duration) *Infos {
	return &Infos{NewGroup[Info](stopped, timeout)}
}

// Get returns the info of the process at an endpoint. The error is ErrBusy if it has not answered before ctx is done.
func (i *Infos) Get(ctx context.Context, from Endpoint) (Info, error) {
	return i.group.Do(ctx, infoKey(from), func(ctx context.Context) (Info, error) { return AskInfo(ctx, from) })
}

// Forget makes the next Get for the endpoint send a new request, even while one is pending.
func (i *Infos) Forget(from Endpoint) { i.group.Forget(infoKey(from)) }

func infoKey(to Endpoint) string { return fmt.Sprintf("%s %d", SocketKey(to.Path), to.Worker) }
