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
)

const testLargest = 1 << 20

// slowBody sends what it has and then nothing, until it is let go.
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

func TestSlowPushesLeaveRoomForSmallOnes(t *testing.T) {
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
		synctest.Wait() // all that have room are slow now
		if used := p.reading.small + p.reading.large; used == 0 || used > 2*(testLargest+1) {
			t.Errorf("%d bytes are taken, want some and at most twice %d", used, testLargest)
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
		want := `{"errors":["other pushes are being read and there is no room for this one now: send it again in a moment"]}`
		if large.Code != http.StatusServiceUnavailable || strings.TrimSpace(large.Body.String()) != want {
			t.Errorf("a large push meanwhile: %d %s", large.Code, large.Body)
		}
		close(held)
		wg.Wait()
		if p.reading.small != 0 || p.reading.large != 0 {
			t.Errorf("%d and %d bytes are still taken", p.reading.small, p.reading.large)
		}
	})
}

func TestManySmallSlowPushesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPush(t, func(c *PushConfig) { c.MaxBody = testLargest })
		held := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 * testLargest / firstRoom {
			wg.Go(func() {
				body := slowBody{strings.NewReader("{"), held}
				p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/update", body))
			})
		}
		synctest.Wait()
		if p.reading.small > testLargest+1 || p.reading.small < testLargest-firstRoom {
			t.Errorf("%d bytes are taken; want about %d", p.reading.small, testLargest)
		}
		close(held)
		wg.Wait()
	})
}

func TestTheLargestPushFits(t *testing.T) {
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
		if p.reading.small != 0 || p.reading.large != 0 {
			t.Errorf("%d and %d bytes are still taken", p.reading.small, p.reading.large)
		}
	}
}
