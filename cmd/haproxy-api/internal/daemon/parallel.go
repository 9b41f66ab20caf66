package daemon

import (
	"errors"
	"sync"
)

// parallel calls f for each entry of m in a goroutine of its own and waits until all calls have returned. The error joins those
// of all calls, in the order of the names.
func parallel[T any](m map[string]T, f func(name string, v T) error) error {
	names := sortedKeys(m)
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = f(name, m[name]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
