package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A TooLargeError means that the content exceeds a limit.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it is longer than the limit of %d bytes", e.Limit)
}

// ReadAll reads r to its end. After limit bytes it returns a [*TooLargeError].
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	// One byte more shows whether the content exceeds the limit. The largest int64 has no successor.
	content, err := io.ReadAll(io.LimitReader(r, max(limit, limit+1)))
	if err == nil && int64(len(content)) > limit {
		return nil, &TooLargeError{Limit: limit}
	}
	return content, err
}

// A Stream decodes what a Sidecar's watch sends: objects one after another without separators. It is for one goroutine.
type Stream struct {
	source  *limitedReader
	objects *json.Decoder
	decoder Decoder
}

// NewStream returns a stream over r. Each object may have about limit bytes.
func NewStream(r io.Reader, limit int64) *Stream {
	source := &limitedReader{reader: r, limit: limit}
	return &Stream{source: source, objects: json.NewDecoder(source)}
}

// Next blocks until an object is complete and returns it decoded. It returns io.EOF when the stream has ended between
// two objects. After any other error the stream is unusable, since the start of the next object is unknown.
func (s *Stream) Next() (sdk.Snapshot, error) {
	s.source.left = s.source.limit
	var object json.RawMessage
	if err := s.objects.Decode(&object); err != nil {
		return sdk.Snapshot{}, streamError(err, s.objects.InputOffset())
	}
	return s.decoder.DecodeWatch(object)
}

func streamError(err error, offset int64) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &Error{Reason: "not JSON: " + syntax.Error(), Offset: offset}
	}
	return err
}

// A limitedReader is an io.LimitedReader that returns an error at the limit instead of io.EOF.
type limitedReader struct {
	reader      io.Reader
	left, limit int64
}

func (b *limitedReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, &TooLargeError{Limit: b.limit}
	}
	n, err := b.reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
