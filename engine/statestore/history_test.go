package statestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

func putChange(log *history.Log) {
	log.Put(history.Change{Generation: log.Next(), Outcome: history.OutcomeApplied}, "+a\n")
}

func TestHistory_IsReadAfterReopening(t *testing.T) {
	dir := savedDir(t)
	for n := range uint64(3) {
		s, out := openStore(t, dir)
		log, other := s.OpenHistory("edge"), s.OpenHistory("other")
		if changes, _ := log.List(0, 10); uint64(len(changes)) != n {
			t.Errorf("%d changes, want %d", len(changes), n)
		}
		if changes, _ := other.List(0, 10); len(changes) != 0 {
			t.Errorf("another pipeline has %d changes", len(changes))
		}
		putChange(log)
		closeStore(t, s)
		if out.String() != "" {
			t.Errorf("logged %s", out)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "history-edge.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

// A pipeline that is removed and added again has its history.
func TestHistory_IsOpenedAgain(t *testing.T) {
	s, _ := openStore(t, savedDir(t))
	defer closeStore(t, s)
	putChange(s.OpenHistory("edge"))
	again := s.OpenHistory("edge")
	if changes, _ := again.List(0, 10); len(changes) != 1 {
		t.Errorf("got %+v", changes)
	}
}

// The target of a symbolic link is neither read nor written to. The history goes on without it once the link is gone.
func TestHistory_SymbolicLinkIsNotFollowed(t *testing.T) {
	dir, elsewhere := savedDir(t), filepath.Join(t.TempDir(), "elsewhere")
	path := filepath.Join(dir, "history-edge.jsonl")
	const precious = `{"change":{"generation":7,"outcome":"applied"}}` + "\n"
	if err := errors.Join(os.WriteFile(elsewhere, []byte(precious), 0o600), os.Symlink(elsewhere, path)); err != nil {
		t.Fatal(err)
	}
	s, out := openStore(t, dir)
	log := s.OpenHistory("edge")
	if changes, _ := log.List(0, 10); len(changes) != 0 {
		t.Errorf("read %+v", changes)
	}
	putChange(log)
	closeStore(t, s)
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != precious {
		t.Errorf("the target has %q, %v", content, err)
	}
	if !strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("logged %s", out)
	}
}

// Lines that cannot be read do not make the others unusable.
func TestHistory_DamagedFile(t *testing.T) {
	dir := savedDir(t)
	path := filepath.Join(dir, "history-edge.jsonl")
	content := `{"change":{"generation":7,"outcome":"applied"}}` + "\n" + "\x00\x00" + `{"change":{"generation":8`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := openStore(t, dir)
	log := s.OpenHistory("edge")
	putChange(log)
	closeStore(t, s)
	s, out := openStore(t, dir)
	defer closeStore(t, s)
	if changes, _ := s.OpenHistory("edge").List(0, 10); len(changes) != 2 || changes[0].Generation != 8 || out.String() != "" {
		t.Errorf("logged %s, got %+v", out, changes)
	}
}
