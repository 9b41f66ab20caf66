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
// comes in, not with what is announced. The error is [errBusy] where it cannot.
func (r *room) read(body io.Reader) ([]byte, error) {
	var content []byte
	for {
		if len(content) == cap(content) {
			var err error
			if content, err = r.grow(content, min(max(firstRoom, 2*r.size), r.budget.each)); err != nil {
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

// grow returns content with room for size bytes, if there is that much.
func (r *room) grow(content []byte, size int64) ([]byte, error) {
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.account(r.size) -= r.size
	if *b.account(size)+size > b.each {
		*b.account(r.size) += r.size
		return nil, errBusy
	}
	*b.account(size) += size
	r.size = size
	// The lock is held, so that only one body at a time exists twice.
	return append(make([]byte, 0, size), content...), nil
}

// leave gives the room back.
func (r *room) leave() {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	*r.budget.account(r.size) -= r.size
	r.size = 0
}
