package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// pushAttempts is how often a push is tried.
const pushAttempts = 6

// A fakeSidecar serves the state of a catalogue and pushes it to a listener after each change, as Sidecar does.
type fakeSidecar struct {
	listener string // the URL that receives pushes
	stateURL string
	server   *http.Server
	changed  chan struct{} // has an element while a change has not been pushed
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu        sync.Mutex
	instances map[string]sdk.Instance // by id
	updated   time.Time               // of the last change
}

// startSidecar starts a Sidecar on a free port of 127.0.0.1. It must be closed.
func startSidecar(listener string) (*fakeSidecar, error) {
	ctx, stop := context.WithCancel(context.Background())
	var config net.ListenConfig
	socket, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return nil, fmt.Errorf("the demo cannot start its Sidecar: %w", err)
	}
	s := &fakeSidecar{
		listener: listener, stateURL: "http://" + socket.Addr().String() + "/state.json",
		changed: make(chan struct{}, 1), stop: stop, instances: map[string]sdk.Instance{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = sidecar.EncodeState(w, s.snapshot())
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() { _ = s.server.Serve(socket) })
	s.running.Go(func() { s.pushChanges(ctx) })
	return s, nil
}

// close stops serving and pushing.
func (s *fakeSidecar) close() {
	s.stop()
	_ = s.server.Close()
	s.running.Wait()
}

// add adds an instance or replaces the one with its id.
func (s *fakeSidecar) add(instance sdk.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updated = time.Now().UTC()
	instance.Created, instance.Updated = s.updated, s.updated
	s.instances[instance.ID] = instance
	s.signal()
}

// setStatus changes the status of an instance that was added.
func (s *fakeSidecar) setStatus(id string, status sdk.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updated = time.Now().UTC()
	instance := s.instances[id]
	instance.Status, instance.Updated = status, s.updated
	s.instances[id] = instance
	s.signal()
}

func (s *fakeSidecar) signal() {
	select {
	case s.changed <- struct{}{}:
	default: // the next push includes this change
	}
}

func (s *fakeSidecar) snapshot() sdk.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sdk.Snapshot{
		Cluster: "demo", Changed: s.updated, Services: sdk.GroupByName(slices.Collect(maps.Values(s.instances))),
	}
}

func (s *fakeSidecar) pushChanges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		for attempt := range pushAttempts {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
			}
			if s.push(ctx) == nil {
				break
			}
		}
	}
}

// push posts the current state as a state changed event.
func (s *fakeSidecar) push(ctx context.Context) error {
	var state bytes.Buffer
	if err := sidecar.EncodeState(&state, s.snapshot()); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]json.RawMessage{"State": state.Bytes()})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.listener, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 3 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the listener answered %s", response.Status)
	}
	return nil
}
