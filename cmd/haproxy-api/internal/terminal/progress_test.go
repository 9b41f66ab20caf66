package terminal

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

func TestProgress_ShowsTextAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		p := &Progress{w: &screen, width: 12}
		p.Show("first")
		time.Sleep(progressDelay / 2)
		p.Show("second")
		p.mu.Lock()
		if screen.Len() > 0 {
			t.Errorf("before its time: %q", &screen)
		}
		p.mu.Unlock()
		time.Sleep(progressDelay)
		synctest.Wait()
		p.Show("third, which is too long")
		fmt.Fprint(p.Over(&screen), "output\n")
		p.Show("fourth")
		p.Close()
		p.Close()
		const erase = ansi.EraseLineRight
		want := "\rsecond" + erase + "\rthird, whi…" + erase + "\r" + erase + "output\n" + "\rfourth" + erase + "\r" + erase
		if diff := cmp.Diff(want, screen.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestProgress_ShowsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		width int
		wait  time.Duration
	}{
		"if it is done at once": {80, progressDelay / 2},
		"except on a terminal":  {0, 2 * progressDelay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var screen bytes.Buffer
				p := NewProgress(&screen)
				p.width = test.width
				p.Show("text")
				time.Sleep(test.wait)
				p.Close()
				time.Sleep(2 * progressDelay)
				synctest.Wait()
				if screen.Len() > 0 {
					t.Errorf("%q", &screen)
				}
			})
		})
	}
}
