package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A TooLargeError says that something was longer than its reader was willing to hold.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it is longer than %d bytes, which is the limit", e.Limit)
}

// ReadAll reads r to its end. Past limit bytes it stops with a [*TooLargeError].
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	// One byte more tells whether there is more; the greatest limit of all has no room for it.
	content, err := io.ReadAll(io.LimitReader(r, max(limit, limit+1)))
	if err == nil && int64(len(content)) > limit {
		return nil, &TooLargeError{Limit: limit}
	}
	return content, err
}

// A Stream reads what a Sidecar's watch sends: objects one after another with nothing between them. It is for one
// goroutine.
type Stream struct {
	source  *bounded
	objects *json.Decoder
	decoder Decoder
}

// NewStream returns a stream over r whose objects may have up to about limit bytes each.
func NewStream(r io.Reader, limit int64) *Stream {
	source := &bounded{reader: r, limit: limit}
	return &Stream{source: source, objects: json.NewDecoder(source)}
}

// Next blocks until an object is complete and returns it decoded. It returns io.EOF when the stream has ended between
// two objects, and any other error when it has not or when what came is no catalogue: the stream is of no use then, as
// nobody knows where the next object starts.
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

// bounded is an io.LimitedReader whose limit is not an end but an error, and can be lifted again.
type bounded struct {
	reader      io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, &TooLargeError{Limit: b.limit}
	}
	n, err := b.reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
