package engine

import (
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// fakeStateStore is a StateStore in memory, for several engines.
type fakeStateStore struct {
	mu        sync.Mutex
	snapshots map[string]sdk.Snapshot
	documents map[string]AppliedDocument
	files     map[string]*memoryFile
	logs      []*history.Log
}

func newFakeStateStore() *fakeStateStore {
	return &fakeStateStore{
		snapshots: map[string]sdk.Snapshot{}, documents: map[string]AppliedDocument{}, files: map[string]*memoryFile{},
	}
}

func (m *fakeStateStore) OpenHistory(pipeline string) *history.Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[pipeline] == nil {
		m.files[pipeline] = &memoryFile{}
	}
	f := m.files[pipeline]
	log := history.Open(f.content, f, slog.New(slog.DiscardHandler))
	m.logs = append(m.logs, log)
	return log
}

// closeHistories is what closing a state store does.
func (m *fakeStateStore) closeHistories() {
	for _, log := range m.logs {
		log.Close()
	}
	m.logs = nil
}

// memoryFile is the file of a history.
type memoryFile struct{ content []byte }

func (f *memoryFile) Append(lines []byte) error {
	f.content = append(f.content, lines...)
	return nil
}

func (f *memoryFile) Replace(content []byte) error {
	f.content = content
	return nil
}

func (m *fakeStateStore) Snapshot(source string) (sdk.Snapshot, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	snap, ok := m.snapshots[source]
	return snap, ok
}

func (m *fakeStateStore) SaveSnapshot(source string, snap sdk.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshots[source] = snap
}

func (m *fakeStateStore) AppliedDocument(pipeline string) (AppliedDocument, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.documents[pipeline]
	return e, ok
}

func (m *fakeStateStore) SaveAppliedDocument(pipeline string, e AppliedDocument) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents[pipeline] = e
}

func TestRestore_SnapshotAndDocument(t *testing.T) {
	store := newFakeStateStore()
	taken := time.Time{}
	runGuarded(t, testGuard, store, func(_ *testing.T, g *guardEnv) {
		snap := snapshotWith(20, 0)
		taken = snap.Taken
		g.emit(snapshotWith(19, 0))
		g.emit(snap)
		g.emit(snapshotWith(0, 0)) // held, so not stored
	})
	before := maps.Clone(store.documents)
	runGuarded(t, testGuard, store, func(t *testing.T, g *guardEnv) {
		g.live(t, 20)
		g.wantApplied("1 v1:web")
		status := g.status()
		if !status.StaleSince.Equal(taken) || status.Generation != before["p"].Document.Generation ||
			status.Digest != before["p"].Document.Digest || status.Last.Trigger.Kind != history.TriggerStart {
			t.Errorf("after the restart %+v, last %+v; before %+v", status, status.Last, before["p"])
		}
		// The guard compares the first snapshot with the restored one.
		g.emit(snapshotWith(1, 0))
		g.held(t, true)
		g.live(t, 20)
		if g.status().StaleSince.IsZero() {
			t.Error("the restored snapshot is not stale")
		}
		g.emit(snapshotWith(18, 0))
		g.held(t, false)
		if g.status().StaleSince != (time.Time{}) {
			t.Error("still stale after the source emitted a snapshot")
		}
	})
}

// The snapshot may have been stored by a version with other validation.
func TestRestore_SnapshotIsQuarantined(t *testing.T) {
	store := newFakeStateStore()
	snap := snapshotOf("web", "chat")
	snap.Services[0].Instances[0].ID = "1\n  server evil 6.6.6.6:666"
	store.snapshots["s"] = snap
	runGuarded(t, testGuard, store, func(t *testing.T, g *guardEnv) {
		g.wantApplied("1 v1:web")
		if q := g.status().Quarantined; len(q) != 1 || q[0].Service != "chat" {
			t.Errorf("quarantined %+v", q)
		}
	})
}

func TestRestore_DocumentWithoutNewOne(t *testing.T) {
	document := sdk.Document{Pipeline: "p", Generation: 7, Files: []sdk.File{{Name: "main", Content: []byte("v0:web")}}}
	document.Digest = sdk.DigestOf(document.Files)
	t.Run("no snapshot", func(t *testing.T) {
		store := newFakeStateStore()
		store.documents["p"] = AppliedDocument{Document: document}
		runGuarded(t, testGuard, store, func(t *testing.T, g *guardEnv) {
			g.wantApplied("7 v0:web")
			if s := g.status(); s.Generation != 7 || s.Last.Trigger.Kind != history.TriggerStart || !s.StaleSince.IsZero() {
				t.Errorf("status %+v", s)
			}
			g.emit(snapshotWith(1, 0))
			g.wantApplied("7 v0:web", "9 v1:web")
			if s := g.status(); s.Generation != 9 {
				t.Errorf("status %+v", s)
			}
		})
	})
	t.Run("sink of another type", func(t *testing.T) {
		store := newFakeStateStore()
		store.documents["p"] = AppliedDocument{Document: document, SinkType: "nginx"}
		runGuarded(t, testGuard, store, func(_ *testing.T, g *guardEnv) {
			g.wantApplied()
			g.emit(snapshotWith(1, 0))
			g.wantApplied("8 v1:web")
		})
	})
	t.Run("template does not load", func(t *testing.T) {
		store := newFakeStateStore()
		store.documents["p"] = AppliedDocument{Document: document}
		store.snapshots["s"] = snapshotOf("web")
		runGuardedTemplate(t, "broken", testGuard, store, func(t *testing.T, g *guardEnv) {
			g.wantApplied("7 v0:web")
			if s := g.status(); s.Generation != 7 || s.ApplyError == nil || s.TemplateError == nil {
				t.Errorf("status %+v", s)
			}
			g.edit("v2")
			g.wantApplied("7 v0:web", "9 v2:web")
			if s := g.status(); s.ApplyError != nil || s.TemplateError != nil {
				t.Errorf("status %+v", s)
			}
		})
	})
	t.Run("template does not render", func(t *testing.T) {
		store := newFakeStateStore()
		store.documents["p"] = AppliedDocument{Document: document}
		store.snapshots["s"] = snapshotOf("web")
		runGuardedTemplate(t, "bad", testGuard, store, func(t *testing.T, g *guardEnv) {
			g.wantApplied("7 v0:web")
			if s := g.status(); s.Generation != 7 || s.ApplyError == nil {
				t.Errorf("status %+v", s)
			}
			g.emit(snapshotOf("web", "chat"))
			g.wantApplied("7 v0:web") // it is applied already
			g.edit("v2")
			g.wantApplied("7 v0:web", "9 v2:chat,web")
			if s := g.status(); s.Generation != 9 || s.ApplyError != nil {
				t.Errorf("status %+v", s)
			}
		})
	})
}
