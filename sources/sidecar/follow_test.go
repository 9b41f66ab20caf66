package sidecar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A peerNet is the network of a Sidecar in fake time: each watch runs the next script, and the last one from then on.
type peerNet struct {
	scripts []func(ctx context.Context, body *io.PipeWriter)
	state   network
	watches atomic.Int32
	states  atomic.Int32
}

func (n *peerNet) client() *http.Client { return clientOf(n.roundTrip) }

func (n *peerNet) roundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/state.json") {
		n.states.Add(1)
		return n.state(r)
	}
	script := n.scripts[min(int(n.watches.Add(1)), len(n.scripts))-1]
	if script == nil {
		return nil, errors.New("connection refused")
	}
	reader, writer := io.Pipe()
	go func() {
		script(r.Context(), writer)
		_ = writer.Close()
	}()
	context.AfterFunc(r.Context(), func() { _ = writer.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Body: reader, Header: http.Header{}}, nil
}

// sends returns a script that writes contents and then stays silent.
func sends(contents ...[]byte) func(context.Context, *io.PipeWriter) {
	return func(ctx context.Context, w *io.PipeWriter) {
		_, _ = w.Write(bytes.Join(contents, nil))
		<-ctx.Done()
	}
}

// breaksAfter returns a script that writes contents and then ends the stream.
func breaksAfter(contents ...[]byte) func(context.Context, *io.PipeWriter) {
	return func(_ context.Context, w *io.PipeWriter) { _, _ = w.Write(bytes.Join(contents, nil)) }
}

func following(t *testing.T, log *lockedBuffer, client *http.Client) *Follow {
	t.Helper()
	config := FollowDefaults()
	config.Address = "side:7777"
	f, err := NewFollow(logTo(log), config)
	if err != nil {
		t.Fatal(err)
	}
	f.client = client
	return f
}

func TestFollow_RecordedStreams(t *testing.T) {
	for _, name := range []string{"watch.stream", "watch-by_service-false.stream"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				last := recorded(t, "state-4-node3-tombstoned.json")
				n := &peerNet{state: answers(200, string(last))}
				n.scripts = append(n.scripts, sends(recorded(t, name)))
				emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
				defer stop()
				pass(5 * time.Minute)
				all, want := emitted.all(), decoded(t, last)
				if got := all[len(all)-1]; !snapshots.Equal(got, want) || got.Source != "test" || got.Taken.IsZero() {
					t.Errorf("the last snapshot is not the last recorded state:\n%s", cmp.Diff(want, got))
				}
				// A by-service stream gets the name of the cluster with the first fetch of the state, and only then.
				if count := len(all); count != 12 && name != "watch.stream" || count > 13 {
					t.Errorf("%d snapshots for twelve objects", count)
				}
				if n.watches.Load() != 1 || n.states.Load() == 0 {
					t.Errorf("%d watches and %d fetches of the state", n.watches.Load(), n.states.Load())
				}
			})
		})
	}
}

func TestFollow_BrokenStreamIsReopenedAtOnce(t *testing.T) {
	whole := stateOf(t, "cut")
	for name, end := range map[string][]byte{
		"between objects":  nil,
		"inside an object": whole[:len(whole)/2],
		"with garbage":     []byte("}"),
		"with a list":      []byte("[]"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &peerNet{state: answers(200, string(stateOf(t, "two")))}
				n.scripts = append(n.scripts, breaksAfter(stateOf(t, "one"), end), sends(stateOf(t, "two")))
				emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
				defer stop()
				synctest.Wait()
				// No fake time has passed up to here.
				if got := emitted.images(); got != "one two" || n.watches.Load() != 2 {
					t.Errorf("emitted %q from %d watches", got, n.watches.Load())
				}
			})
		})
	}
}

func TestFollow_PausesGrowForAFailingPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		n := &peerNet{state: answers(200, "")}
		n.scripts = append(n.scripts, nil)
		f := following(t, &log, n.client())
		_, stop := watch(t, f)
		defer stop()
		pass(10 * time.Minute)
		wantProblem(t, f, "side:7777", "http://side:7777/watch", "connection refused")
		if got := n.watches.Load(); got < 15 || got > 50 {
			t.Errorf("%d tries in ten minutes", got)
		}
		if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "connection refused") {
			t.Errorf("%d lines for one fault:\n%s", got, log.String())
		}
	})
}

func TestFollow_PausesGrowForAPeerThatClosesEveryStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &peerNet{state: answers(200, "")}
		n.scripts = append(n.scripts, breaksAfter(stateOf(t, "one")))
		_, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
		defer stop()
		pass(10 * time.Minute)
		if got := n.watches.Load(); got < 15 || got > 50 {
			t.Errorf("%d tries in ten minutes", got)
		}
	})
}

func TestFollow_ReopensAtOnceAfterAStableStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := &peerNet{state: answers(200, string(stateOf(t, "one")))}
		n.scripts = append(n.scripts, nil, nil, nil, func(_ context.Context, w *io.PipeWriter) {
			_, _ = w.Write(stateOf(t, "one"))
			<-release
		}, sends(stateOf(t, "two")))
		emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
		defer stop()
		pass(time.Minute)
		close(release)
		synctest.Wait()
		if got := emitted.images(); got != "one two" {
			t.Errorf("emitted %q", got)
		}
	})
}

func TestFollow_SilentDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		hung := func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		n := &peerNet{state: hung}
		n.scripts = append(n.scripts, sends(stateOf(t, "one")), sends(stateOf(t, "two")))
		emitted, stop := watch(t, following(t, &log, n.client()))
		defer stop()
		pass(45 * time.Second)
		if n.watches.Load() != 1 {
			t.Error("the stream ended before it was silent for long")
		}
		pass(45 * time.Second)
		if got := emitted.images(); got != "one two" || !strings.Contains(log.String(), "the stream is silent") {
			t.Errorf("emitted %q; log:\n%s", got, log.String())
		}
	})
}

func TestFollow_PeerThatNeverResponds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		var asked atomic.Int32
		f := following(t, &log, clientOf(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		_, stop := watch(t, f)
		defer stop()
		pass(fetchTimeout + time.Second)
		const want = "side:7777/watch: timed out"
		if asked.Load() != 2 || !strings.Contains(log.String(), want) {
			t.Errorf("%d tries; log:\n%s", asked.Load(), log.String())
		}
	})
}

func TestFollow_LostEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &peerNet{state: answers(200, string(stateOf(t, "two")))}
		n.scripts = append(n.scripts, sends(stateOf(t, "one")))
		emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
		defer stop()
		pass(10 * time.Minute)
		if got := emitted.images(); got != "one two" || n.watches.Load() != 1 {
			t.Errorf("emitted %q from %d watches", got, n.watches.Load())
		}
		if all := emitted.all(); all[0].Cause != sdk.CauseWatch || all[1].Cause != sdk.CauseResync {
			t.Errorf("caused by %q and %q", all[0].Cause, all[1].Cause)
		}
	})
}

func TestFollow_KeepsTheNameOfTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		more := make(chan struct{})
		n := &peerNet{state: answers(200, string(stateOf(t, "one")))}
		n.scripts = append(n.scripts, func(ctx context.Context, w *io.PipeWriter) {
			_, _ = w.Write([]byte(`{"web":[{"ID":"a","Name":"web","Hostname":"node-1","Image":"one"}]}`))
			<-more
			_, _ = w.Write([]byte(`{"web":[{"ID":"a","Name":"web","Hostname":"node-1","Image":"two"}]}`))
			<-ctx.Done()
		})
		emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
		defer stop()
		pass(2 * time.Minute)
		close(more)
		synctest.Wait()
		var clusters []string
		for _, snap := range emitted.all() {
			clusters = append(clusters, snap.Cluster)
		}
		if got := strings.Join(clusters, ","); got != ",demo,demo" {
			t.Errorf("clusters %q: a by-service object lacks the name, and the state has it", got)
		}
	})
}

func TestFollow_ObjectDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, release := make(chan struct{}), make(chan struct{})
		n := &peerNet{state: func(*http.Request) (*http.Response, error) {
			close(asked)
			<-release
			return answerWith(200, stateOf(t, "stale")), nil
		}}
		n.scripts = append(n.scripts, func(ctx context.Context, w *io.PipeWriter) {
			_, _ = w.Write(stateOf(t, "one"))
			<-asked
			_, _ = w.Write(stateOf(t, "two"))
			<-ctx.Done()
		})
		emitted, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
		defer stop()
		<-asked
		synctest.Wait()
		close(release)
		synctest.Wait()
		if got := emitted.images(); got != "one two" {
			t.Errorf("emitted %q", got)
		}
	})
}

func TestFollow_StopsAtOnce(t *testing.T) {
	for name, n := range map[string]*peerNet{
		"between tries": {scripts: []func(context.Context, *io.PipeWriter){nil}},
		"in a stream":   {scripts: []func(context.Context, *io.PipeWriter){sends(stateOf(t, "one"))}},
		"in an object":  {scripts: []func(context.Context, *io.PipeWriter){sends([]byte(`{"Servers":`))}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, stop := watch(t, following(t, &lockedBuffer{}, n.client()))
				synctest.Wait()
				before := time.Now()
				stop()
				if time.Since(before) != 0 {
					t.Errorf("it took %v", time.Since(before))
				}
			})
		})
	}
}

func TestFollow_Subscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &peerNet{state: answers(200, string(recorded(t, "state-4-node3-tombstoned.json")))}
		n.scripts = append(n.scripts, sends(recorded(t, "watch-by_service-false.stream")))
		f := following(t, &lockedBuffer{}, n.client())
		f.config.Subscriptions = []string{"dns"}
		emitted, stop := watch(t, f)
		defer stop()
		pass(5 * time.Minute)
		all := emitted.all()
		if len(all) != 12 || len(all[11].Services) != 1 || all[11].Services[0].Name != "dns" {
			t.Errorf("%d snapshots, the last with %+v", len(all), all[len(all)-1].Services)
		}
	})
}

func TestFollow_BothPaths(t *testing.T) {
	for there, want := range map[string]string{
		"/watch": "one", "/api/watch": "one", "/nowhere": "",
	} {
		t.Run(there, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lockedBuffer
				n := &peerNet{state: answers(200, string(stateOf(t, "one")))}
				n.scripts = append(n.scripts, sends(stateOf(t, "one")))
				emitted, stop := watch(t, following(t, &log, clientOf(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == there && r.URL.RawQuery == "by_service=false" {
						return n.roundTrip(r)
					}
					return answerWith(404, nil), nil
				})))
				defer stop()
				synctest.Wait()
				if got := emitted.images(); got != want {
					t.Errorf("emitted %q", got)
				}
				if logged := strings.Contains(log.String(), "neither /watch nor /api/watch"); logged != (want == "") {
					t.Errorf("log:\n%s", log.String())
				}
			})
		})
	}
}
