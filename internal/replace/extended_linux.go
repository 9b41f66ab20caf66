package replace

import (
	"slices"
	"strings"
	"syscall"
)

// copyExtended copies the access control list, the security label and the user's attributes, as far as we may and both file
// systems know them.
func copyExtended(from, to string) {
	list, err := readExtended(func(into []byte) (int, error) { return syscall.Listxattr(from, into) })
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(string(list), "\x00") {
		if !isKept(name) {
			continue
		}
		value, err := readExtended(func(into []byte) (int, error) { return syscall.Getxattr(from, name, into) })
		if err == nil {
			_ = syscall.Setxattr(to, name, value, 0)
		}
	}
}

// isKept leaves out what is about the content, such as signatures, and what file systems keep for themselves.
func isKept(name string) bool {
	kept := []string{"system.posix_acl_access", "security.selinux", "security.SMACK64"}
	return slices.Contains(kept, name) || strings.HasPrefix(name, "user.")
}

// readExtended calls read with a buffer that is large enough: read returns the size that it needs for none.
func readExtended(read func(into []byte) (int, error)) ([]byte, error) {
	size, err := read(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	value := make([]byte, size)
	size, err = read(value)
	if err != nil {
		return nil, err
	}
	return value[:size], nil
}
