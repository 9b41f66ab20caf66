package haproxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
)

// proxyHeader removes a PROXY header and describes it.
func (c *recorded) proxyHeader() string {
	first, err := c.in.Peek(1)
	if err != nil {
		return ""
	}
	switch first[0] {
	case 'P':
		if start, err := c.in.Peek(6); err != nil || string(start) != "PROXY " {
			return ""
		}
		line, _ := c.in.ReadString('\n')
		words := append(strings.Fields(line), "", "")
		return " PROXY v1 " + words[1]
	case '\r':
		head := make([]byte, 16)
		if _, err := io.ReadFull(c.in, head); err != nil || !bytes.HasPrefix(head, []byte("\r\n\r\n\x00\r\nQUIT\n")) {
			return " broken"
		}
		body := make([]byte, binary.BigEndian.Uint16(head[14:]))
		if _, err := io.ReadFull(c.in, body); err != nil {
			return " broken"
		}
		return fmt.Sprintf(" PROXY v2 %x %x%s", head[12], head[13], describeExtras(head[13], body))
	}
	return ""
}

// describeExtras describes the fields after the addresses of a PROXY v2 header. The last of them, and any checksum or
// unique number, depend on the connection, so that only their type is described.
func describeExtras(family byte, body []byte) string {
	addresses := map[byte]int{0x10: 12, 0x20: 36}[family&0xf0]
	var types []string
	for rest := body[min(addresses, len(body)):]; len(rest) >= 3; {
		length := min(int(binary.BigEndian.Uint16(rest[1:])), len(rest)-3)
		text := fmt.Sprintf("%#x", rest[0])
		if rest[0] >= 0xe0 || rest[0] == 2 {
			text += fmt.Sprintf("=%q", rest[3:3+length])
		}
		types = append(types, text)
		rest = rest[3+length:]
	}
	return fmt.Sprint(types)
}

func describeHello(hello *tls.ClientHelloInfo) string {
	sum := fnv.New32()
	for _, list := range []any{hello.CipherSuites, hello.SupportedCurves, hello.SignatureSchemes} {
		fmt.Fprintln(sum, list)
	}
	// Padding, early data, a known session and a cookie belong to one connection.
	ofConnection := []uint16{21, 41, 42, 44}
	extensions := slices.DeleteFunc(slices.Clone(hello.Extensions), func(extension uint16) bool {
		return slices.Contains(ofConnection, extension)
	})
	return fmt.Sprintf(" TLS name %q alpn %q versions %x extensions %v ciphers %x",
		hello.ServerName, hello.SupportedProtos, hello.SupportedVersions, extensions, sum.Sum32())
}
