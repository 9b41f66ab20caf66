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
	maxResponse = 16 << 20  // bytes of a response on the wire
	maxSnapshot = 32 << 20  // bytes of a snapshot on the wire
	maxDecoded  = 128 << 20 // approximate bytes that one decoded message takes in memory
)

// limitedCodec refuses to decode a message that would take more than maxDecoded bytes in memory. The size on the wire does
// not tell that: an empty port of an instance takes two bytes there.
type limitedCodec struct{ encoding.CodecV2 }

func newLimitedCodec() limitedCodec { return limitedCodec{encoding.GetCodecV2("proto")} }

func (c limitedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if remaining := subtractSize(maxDecoded, message.ProtoReflect().Descriptor(), whole.ReadOnlyData()); remaining < 0 {
		return fmt.Errorf("the plugin's message of %d bytes would take more than %d MiB of memory", data.Len(), maxDecoded>>20)
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}

const (
	messageCost = 512 // bytes of a message beside its fields, as a protobuf message and as a value of package sdk
	fieldCost   = 32  // the same for a field of variable length
	entryCost   = 128 // the same for an entry of a map
)

// subtractSize returns remaining without the approximate size in memory of the encoded message. It stops at a negative
// number. It ignores what cannot be decoded, which the codec reports.
func subtractSize(remaining int, descriptor protoreflect.MessageDescriptor, encoded []byte) int {
	remaining -= messageCost
	for len(encoded) > 0 && remaining >= 0 {
		number, wireType, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return remaining
		}
		encoded = encoded[n:]
		size := protowire.ConsumeFieldValue(number, wireType, encoded)
		if size < 0 {
			return remaining
		}
		value := encoded[:size]
		encoded = encoded[size:]
		field := descriptor.Fields().ByNumber(number)
		if wireType != protowire.BytesType || field == nil || field.Message() == nil {
			remaining -= fieldCost + size
			continue
		}
		inner, _ := protowire.ConsumeBytes(value)
		if field.IsMap() {
			remaining -= entryCost + len(inner)
			continue
		}
		remaining = subtractSize(remaining, field.Message(), inner)
	}
	return remaining
}
