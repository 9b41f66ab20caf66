//go:build !linux

package haproxy

import "errors"

// environ is not told here.
func environ(int) (map[string]string, error) { return nil, errors.ErrUnsupported }

// children are not told here.
func children(int) ([]int, error) { return nil, errors.ErrUnsupported }
