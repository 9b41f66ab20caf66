package replace

import (
	"slices"
	"strings"
	"syscall"
)

// copyExtended copies the access control list, the security label and user attributes, as far as permissions allow and both file
// systems support them.
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

// isKept returns false for attributes that depend on the content, such as signatures, and for those internal to a file system.
func isKept(name string) bool {
	kept := []string{"system.posix_acl_access", "security.selinux", "security.SMACK64"}
	return slices.Contains(kept, name) || strings.HasPrefix(name, "user.")
}

// readExtended calls read with a sufficient buffer. read returns the required size if it is called with nil.
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
