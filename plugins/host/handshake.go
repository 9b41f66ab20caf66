package host

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// maxHandshake bounds how many bytes of a handshake are kept: a program that is no plugin may write a first line without an
// end.
const maxHandshake = 64 << 10

// handshake is the line CORE-VERSION|PROTOCOL-VERSION|NETWORK|ADDRESS|… with which a plugin answers go-plugin. go-plugin
// reports another protocol version only in an error text, so the host reads the line too.
type handshake struct {
	mu   sync.Mutex
	line []byte
}

func (h *handshake) append(part []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line = append(h.line, part[:min(len(part), maxHandshake-len(h.line))]...)
}

// protocol returns the protocol version of the plugin, and false if there was no handshake.
func (h *handshake) protocol() (version int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fields := strings.Split(strings.TrimSpace(string(h.line)), "|")
	if len(fields) < 4 {
		return 0, false
	}
	version, err := strconv.Atoi(fields[1])
	return version, err == nil
}

// handshakeReader reads the first line of standard output, and then nothing until its end: the rest, which go-plugin would
// discard, goes to the log.
type handshakeReader struct {
	*os.File
	handshake *handshake
	rest      io.Writer
	over      bool // the first line was read
}

func (h *handshakeReader) Read(into []byte) (int, error) {
	for {
		n, err := h.File.Read(into)
		line := 0
		if !h.over {
			line = n
			if end := bytes.IndexByte(into[:n], '\n'); end >= 0 {
				h.over, line = true, end+1
			}
			h.handshake.append(into[:line])
		}
		_, _ = h.rest.Write(into[line:n])
		if line > 0 || err != nil {
			return line, err
		}
	}
}
