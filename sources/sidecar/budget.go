package sidecar

import (
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	smallFraction = 64      // a body of at most this fraction of the largest push is small
	firstSize     = 4 << 10 // bytes that are reserved for a body at first
)

var errBusy = errors.New("too many pushes are being received: retry in a moment")

// A bodyBudget bounds the memory of all bodies that are being read: large ones together take at most as much as the largest push,
// and small ones together as much again. So small pushes are received while large ones are slow. It is safe for concurrent use.
type bodyBudget struct {
	each         int64 // the size of each semaphore in bytes
	small, large *semaphore.Weighted
	copying      sync.Mutex
}

func newBodyBudget(largest int64) *bodyBudget {
	// One byte more shows whether a body exceeds the limit. The largest int64 has no successor.
	each := max(largest, largest+1)
	return &bodyBudget{each: each, small: semaphore.NewWeighted(each), large: semaphore.NewWeighted(each)}
}

// semaphore returns the one for bodies of that size.
func (b *bodyBudget) semaphore(size int64) *semaphore.Weighted {
	if size <= max(firstSize, b.each/smallFraction) {
		return b.small
	}
	return b.large
}

// A reservation is the memory that one body takes of a budget. It is for one goroutine.
type reservation struct {
	budget *bodyBudget
	size   int64
}

// read returns all of body, which must end with an error before it exceeds the largest push. The reservation grows with what is
// received: the announced length, which is not positive if it is unknown, is reserved only when a sixteenth has been received. It
// begins with the buffer spare, which may be nil. The error is [errBusy] if the budget is exhausted.
func (r *reservation) read(body io.Reader, announced int64, spare []byte) ([]byte, error) {
	var content []byte
	if spare != nil && r.grow(int64(cap(spare))) == nil {
		content = spare[:0]
	}
	for {
		if len(content) == cap(content) {
			var err error
			if content, err = r.copy(content, min(r.nextSize(announced), r.budget.each)); err != nil {
				return nil, err
			}
		}
		n, err := body.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *reservation) nextSize(announced int64) int64 {
	const enough = 16
	if r.size <= announced && announced/enough <= r.size {
		return announced + 1 // shows that nothing follows
	}
	return max(firstSize, 2*r.size)
}

// copy returns content in a buffer of size bytes, if the budget allows it.
func (r *reservation) copy(content []byte, size int64) ([]byte, error) {
	r.budget.copying.Lock() // only one body at a time exists twice
	defer r.budget.copying.Unlock()
	if err := r.grow(size); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, size), content...), nil
}

// grow reserves size bytes in all, if the budget allows it.
func (r *reservation) grow(size int64) error {
	from, to := r.budget.semaphore(r.size), r.budget.semaphore(size)
	if from == to {
		if !to.TryAcquire(size - r.size) {
			return errBusy
		}
	} else {
		if !to.TryAcquire(size) {
			return errBusy
		}
		from.Release(r.size)
	}
	r.size = size
	return nil
}

// release returns the memory to the budget.
func (r *reservation) release() {
	r.budget.semaphore(r.size).Release(r.size)
	r.size = 0
}

// maxSpare bounds the buffer that is kept, in bytes. The state of 10,000 instances has about 4 MB.
const maxSpare = 16 << 20

// A spareBuffer keeps one buffer for the next body. It is safe for concurrent use.
type spareBuffer struct {
	mu     sync.Mutex
	buffer []byte
}

// take returns the buffer if it has more than size bytes and not much more, and nil otherwise.
func (s *spareBuffer) take(size int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := int64(cap(s.buffer)); has <= size || has/2 > size {
		return nil
	}
	buffer := s.buffer
	s.buffer = nil
	return buffer
}

// put keeps a buffer that is no longer used.
func (s *spareBuffer) put(buffer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(buffer) <= maxSpare {
		s.buffer = buffer
	}
}
