package host

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec below
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	maxAnswer   = 16 << 20  // bytes of an answer on the wire
	maxSnapshot = 32 << 20  // bytes of a snapshot on the wire
	maxDecoded  = 128 << 20 // approximate bytes that one decoded message takes in memory
)

// boundedCodec decodes no message that would take more than maxDecoded bytes of memory. The size on the wire says little about
// that: an empty port of an instance is two bytes there.
type boundedCodec struct{ encoding.CodecV2 }

func newBoundedCodec() boundedCodec { return boundedCodec{encoding.GetCodecV2("proto")} }

func (c boundedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	left := maxDecoded
	if take(&left, message.ProtoReflect().Descriptor(), whole.ReadOnlyData()); left < 0 {
		return fmt.Errorf("the plugin's message of %d bytes would take more than %d MiB of memory", data.Len(), maxDecoded>>20)
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}

const (
	messageCost = 512 // bytes that a message takes beside what is in it, in protobuf's form and in ours
	fieldCost   = 32  // the same for a field of a varying length
	entryCost   = 128 // and for an entry of a map
)

// take takes from left about what the encoded message takes in memory, and stops when nothing is left. What cannot be decoded
// is for the decoder to report.
func take(left *int, kind protoreflect.MessageDescriptor, encoded []byte) {
	*left -= messageCost
	for len(encoded) > 0 && *left >= 0 {
		number, wireType, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return
		}
		encoded = encoded[n:]
		size := protowire.ConsumeFieldValue(number, wireType, encoded)
		if size < 0 {
			return
		}
		value := encoded[:size]
		encoded = encoded[size:]
		field := kind.Fields().ByNumber(number)
		if wireType != protowire.BytesType || field == nil || field.Message() == nil {
			*left -= fieldCost + size
			continue
		}
		inner, _ := protowire.ConsumeBytes(value)
		if field.IsMap() {
			*left -= entryCost + len(inner)
			continue
		}
		take(left, field.Message(), inner)
	}
}
