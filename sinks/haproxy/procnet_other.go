//go:build !linux

package haproxy

import "errors"

func networkOf(int) (string, error) { return "", errors.ErrUnsupported }

func listProcesses() (map[int]process, error) { return nil, errors.ErrUnsupported }

func openSockets(int) (map[uint64]bool, error) { return nil, errors.ErrUnsupported }

func listeningSockets(int) ([]socket, error) { return nil, errors.ErrUnsupported }

func unixSockets(int) ([]socket, error) { return nil, errors.ErrUnsupported }

func stopped(int) bool { return false }

func suspended(int) bool { return false }

func unitOf(int) string { return "" }
