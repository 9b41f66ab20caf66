package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type notesConfig struct {
	Directory string `json:"directory"`
	Greeting  string `json:"greeting"`
	Checks    bool   `json:"checks"`
	Rereads   bool   `json:"rereads"`
}

func (c notesConfig) Validate() error {
	if c.Directory == "" {
		return errors.New("directory is missing: say where the notes go")
	}
	return nil
}

// notes writes documents into its directory. Some contents have a special meaning.
type notes struct {
	cfg   notesConfig
	env   sdk.Env
	hoard [][]byte
	slow  chan struct{} // received from with each question for health, while a slow document is under way
	hung  atomic.Bool   // the health is not told any more
	lost  func(sdk.Lost)
}

func openNotes(_ context.Context, env sdk.Env, cfg notesConfig) (sdk.Sink, error) {
	if _, err := os.Stat(filepath.Join(cfg.Directory, "down")); err == nil {
		return nil, fmt.Errorf("the backend does not answer: %w", syscall.ECONNREFUSED)
	}
	if _, err := os.Stat(filepath.Join(cfg.Directory, "wrong")); err == nil {
		return nil, sdk.Rejectf("there is no such backend")
	}
	env.Log.Warn("opened", "greeting", cfg.Greeting, "name", env.Name, "took", 1500*time.Millisecond)
	n := &notes{cfg: cfg, env: env, slow: make(chan struct{})}
	if cfg.Checks {
		return checker{n}, nil
	}
	if cfg.Rereads {
		return rereader{n}, nil
	}
	return n, nil
}

func (n *notes) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	switch content := string(doc.Files[0].Content); content {
	case "reject":
		return sdk.Result{Details: []string{"line 1"}}, sdk.Rejectf("line 1 is wrong")
	case "reject there":
		return sdk.Result{}, fmt.Errorf("look: %w", &sdk.Rejection{Err: errors.New("no such thing"), Positions: wrongPositions})
	case "latin":
		return sdk.Result{Details: []string{"caf\xe9"}}, errors.New("caf\xe9")
	case "busy":
		return sdk.Result{}, sdk.RetryAfter(errors.New("busy"), time.Minute)
	case "wait":
		n.env.Log.Info("waiting")
		<-ctx.Done()
		return sdk.Result{}, context.Cause(ctx)
	case "slow":
		for range 3 {
			<-n.slow
		}
	case "hang":
		n.hung.Store(true)
		select {}
	case "later":
		return sdk.Result{}, sdk.Deferred("one reload in five seconds", time.Minute)
	case "fail to load":
		return sdk.Result{}, sdk.NotLoaded(errors.New("cannot chroot"))
	case "lose":
		n.lost(sdk.Lost{Err: sdk.NotLoaded(errors.New("it ended")), Generation: 3})
	case "lose twice":
		n.lost(sdk.Lost{Err: errors.New("older"), Generation: 4})
		n.lost(sdk.Lost{Err: sdk.Rejectf("newer"), Generation: 5, Digest: "d5"})
	case "keep state":
		dir, err := n.env.CreateStateDir()
		return sdk.Result{Reason: dir}, err
	case "trace":
		return sdk.Result{Reason: sdk.TraceParent(ctx)}, nil
	case "unsupported":
		return sdk.Result{}, fmt.Errorf("without a program: %w", errors.ErrUnsupported)
	case "leak":
		n.leak()
	case "print":
		fmt.Fprintln(os.Stderr, "on standard error")
		fmt.Println("on standard output")
		log.Println("by package log")
		_, _ = syscall.Write(1, []byte("on file 1\n"))
	case "panic":
		fmt.Fprintln(os.Stderr, "a moment before")
		panic("all is lost")
	case "concurrent map writes":
		writeConcurrently()
	case "die":
		os.Exit(3)
	}
	content, err := json.Marshal(doc)
	if err == nil {
		err = os.WriteFile(filepath.Join(n.cfg.Directory, "note"), content, 0o600)
	}
	return sdk.Result{Action: sdk.ActionWritten, Reason: "told to", Took: 1, Details: []string{"a", "b"}}, err
}

var wrongPositions = []sdk.Position{
	{File: "main", Path: "/etc/main", Line: 3, Problem: "unknown word"}, {File: "other", Problem: "too long"},
}

func (n *notes) OnLost(lost func(sdk.Lost)) { n.lost = lost }

// writeConcurrently has the runtime end the program, which no deferred function can prevent.
func writeConcurrently() {
	m := map[int]int{}
	for range 8 {
		go func() {
			for i := 0; ; i++ {
				m[i%100] = i
			}
		}()
	}
	select {}
}

// leak allocates memory until the system refuses more, for which it sets a limit.
func (n *notes) leak() {
	const limit = 3 << 30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return
	}
	for {
		n.hoard = append(n.hoard, make([]byte, 64<<20))
	}
}

// checker is notes with a Check that behaves like Apply.
type checker struct{ *notes }

func (n checker) Check(ctx context.Context, doc sdk.Document) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	_, err := n.Apply(ctx, doc)
	return err
}

func (n *notes) Health(ctx context.Context) (sdk.Health, error) {
	if err := n.waits(ctx); err != nil {
		return sdk.Health{}, err
	}
	if n.hung.Load() {
		select {}
	}
	select {
	case n.slow <- struct{}{}:
	default:
	}
	return sdk.Health{Problems: []string{"too quiet"}, Facts: map[string]string{"pid": fmt.Sprint(os.Getpid())}}, nil
}

// waits blocks until ctx is done if there is a file "waits", and returns an error then.
func (n *notes) waits(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(n.cfg.Directory, "waits")); err != nil {
		return nil
	}
	<-ctx.Done()
	return errors.New("process 7 has it")
}

// Claim fails while there is a file "taken", hangs while there is a file "stuck", and otherwise writes its process id.
func (n *notes) Claim(ctx context.Context) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Directory, "stuck")); err == nil {
		select {}
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Directory, "taken")); err == nil {
		return errors.New("somebody else has it")
	}
	return os.WriteFile(filepath.Join(n.cfg.Directory, "claimed"), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

func (n *notes) Stop(ctx context.Context) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.cfg.Directory, "stopped"), nil, 0o600)
}
