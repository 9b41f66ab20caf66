package sidecar

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"
)

const testLargest = 1 << 20

// reserved reports whether at least n bytes of the semaphore are reserved.
func reserved(b *bodyBudget, s *semaphore.Weighted, n int64) bool {
	rest := b.each - n + 1
	if s.TryAcquire(rest) {
		s.Release(rest)
		return false
	}
	return true
}

func wantReleased(t *testing.T, b *bodyBudget) {
	t.Helper()
	if reserved(b, b.small, 1) || reserved(b, b.large, 1) {
		t.Error("memory is still reserved")
	}
}

// slowBody sends its content and then nothing, until held is closed.
type slowBody struct {
	content io.Reader
	held    chan struct{}
}

func (b slowBody) Read(p []byte) (int, error) {
	if n, err := b.content.Read(p); err == nil {
		return n, nil
	}
	<-b.held
	return 0, errors.New("gone")
}

func TestPush_SlowLargePushesDoNotBlockSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, func(c *PushConfig) { c.MaxBody = testLargest })
		held := make(chan struct{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for range 20 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				body := slowBody{strings.NewReader(strings.Repeat(" ", testLargest*3/4)), held}
				p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/update", body))
				mu.Lock()
				defer mu.Unlock()
				codes[w.Code]++
			})
		}
		synctest.Wait() // all that were not rejected are slow now
		if !reserved(p.budget, p.budget.large, testLargest*3/4) {
			t.Error("the body that is being received takes no memory of the budget")
		}
		if codes[http.StatusServiceUnavailable] != 19 {
			t.Errorf("answers %v; want 19 times 503", codes)
		}
		for n := 1; n <= updates; n++ {
			if w := post(t, p, recordedUpdate(t, n)); w.Code != http.StatusOK {
				t.Errorf("a small push meanwhile: %d %s", w.Code, w.Body)
			}
		}
		large := post(t, p, bytes.Repeat([]byte(" "), testLargest))
		if large.Code != http.StatusServiceUnavailable || !strings.Contains(large.Body.String(), errBusy.Error()) {
			t.Errorf("a large push meanwhile: %d %s", large.Code, large.Body)
		}
		close(held)
		wg.Wait()
		wantReleased(t, p.budget)
	})
}

func TestPush_SlowSmallPushesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, func(c *PushConfig) { c.MaxBody = testLargest })
		held := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 * testLargest / firstSize {
			wg.Go(func() {
				body := slowBody{strings.NewReader("{"), held}
				p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/update", body))
			})
		}
		synctest.Wait()
		if !reserved(p.budget, p.budget.small, testLargest-firstSize) || reserved(p.budget, p.budget.large, 1) {
			t.Errorf("small pushes take less than %d bytes, or large ones some", testLargest-firstSize)
		}
		close(held)
		wg.Wait()
		wantReleased(t, p.budget)
	})
}

func TestPush_LargestBody(t *testing.T) {
	event := eventOf(t, "web:1")
	for _, size := range []int{len(event), 4095, 4096, 4097, 10_000, testLargest - 1, testLargest} {
		p := newTestPush(t, func(c *PushConfig) { c.MaxBody = int64(size) })
		body := append(bytes.Clone(event), bytes.Repeat([]byte(" "), size-len(event))...)
		for range 3 {
			if w := post(t, p, body); w.Code != http.StatusOK {
				t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
			}
		}
		if w := post(t, p, append(body, ' ')); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("one byte more than %d: %d %s", size, w.Code, w.Body)
		}
		wantReleased(t, p.budget)
	}
}
