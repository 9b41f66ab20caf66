package sidecar

import (
	"errors"
	"io"
	"sync"
)

// smallShare is which part of the largest push counts as small.
const smallShare = 64

// firstRoom is what a body that is being read takes at first.
const firstRoom = 4 << 10

var errBusy = errors.New("other pushes are being read and there is no room for this one now: send it again in a moment")

// A budget bounds what the bodies that are being read take in memory, all together: as much as the largest push for what is
// large, and as much again for what is small. So small pushes come through while large ones are slow, and as long as nobody is
// slow the largest one fits. It is safe for concurrent use.
type budget struct {
	each int64 // for the small ones, and for the large ones

	growing      sync.Mutex
	mu           sync.Mutex
	small, large int64 // in use
}

func newBudget(largest int64) *budget {
	// One byte more tells whether there is more; the greatest number of all has no room for it.
	return &budget{each: max(largest, largest+1)}
}

// account returns where a body of that size counts.
func (b *budget) account(size int64) *int64 {
	if size <= max(firstRoom, b.each/smallShare) {
		return &b.small
	}
	return &b.large
}

// A room is what one body takes of a budget. It is for one goroutine.
type room struct {
	budget *budget
	size   int64
}

// read returns all of body, which must end with an error before it is longer than the largest push. The room grows with what
// comes in: all that is announced, which is not positive where nothing is, is taken only once a sixteenth of it is there. It
// begins with the buffer spare, which may be nil. The error is [errBusy] where there is no room.
func (r *room) read(body io.Reader, announced int64, spare []byte) ([]byte, error) {
	var content []byte
	if spare != nil && r.take(int64(cap(spare))) == nil {
		content = spare[:0]
	}
	for {
		if len(content) == cap(content) {
			var err error
			if content, err = r.grow(content, min(r.next(announced), r.budget.each)); err != nil {
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

// next returns the size that comes after the present one.
func (r *room) next(announced int64) int64 {
	const enough = 16
	if r.size <= announced && announced/enough <= r.size {
		return announced + 1 // to see that there is no more
	}
	return max(firstRoom, 2*r.size)
}

// grow returns content with room for size bytes, if there is that much.
func (r *room) grow(content []byte, size int64) ([]byte, error) {
	r.budget.growing.Lock() // so that only one body at a time exists twice
	defer r.budget.growing.Unlock()
	if err := r.take(size); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, size), content...), nil
}

// take makes the room one of size bytes, if there is that much.
func (r *room) take(size int64) error {
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.account(r.size) -= r.size
	if *b.account(size)+size > b.each {
		*b.account(r.size) += r.size
		return errBusy
	}
	*b.account(size) += size
	r.size = size
	return nil
}

// leave gives the room back.
func (r *room) leave() {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	*r.budget.account(r.size) -= r.size
	r.size = 0
}

// A spare keeps one buffer for the next body. It is safe for concurrent use.
type spare struct {
	mu     sync.Mutex
	buffer []byte
}

// maxSpare bounds what is kept, in bytes. The state of 10,000 instances has about 4 MB.
const maxSpare = 16 << 20

// take returns the buffer, if it is large enough for so many bytes and one more, and not much too large. Else it returns nil.
func (s *spare) take(size int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := int64(cap(s.buffer)); has <= size || has/2 > size {
		return nil
	}
	buffer := s.buffer
	s.buffer = nil
	return buffer
}

// put keeps a buffer that nobody uses any more.
func (s *spare) put(buffer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(buffer) <= maxSpare {
		s.buffer = buffer
	}
}
