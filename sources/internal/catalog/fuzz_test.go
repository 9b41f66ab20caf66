package catalog_test

import (
	"bytes"
	"testing"
	"unicode"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

func seeds(f *testing.F) {
	for _, name := range []string{
		"services.json", "state-1-node3-joining.json", "state-4-node3-tombstoned.json", "watch.stream",
		"watch-by_service-false.stream", "updates/post-001.json", "updates/post-031.json",
	} {
		f.Add(recorded(f, name))
	}
	for _, odd := range []string{
		`{}`, `null`, `{"Servers":{"a":null}}`, `{"a":[null]}`, `{"State":{"Servers":{}},"ChangeEvent":null}`,
	} {
		f.Add([]byte(odd))
	}
}

// checkRoundTrip checks that a decoded snapshot is the same after encoding and decoding it.
func checkRoundTrip(t *testing.T, snap sdk.Snapshot) {
	t.Helper()
	content := encode(t, snap)
	again, err := catalog.Decode(content)
	if err != nil {
		t.Fatalf("an encoded snapshot cannot be decoded: %v", err)
	}
	if !snapshots.Equal(snap, again) || !snap.Changed.Equal(again.Changed) {
		t.Fatalf("round trip changed %+v into %+v", snap, again)
	}
	if !bytes.Equal(content, encode(t, again)) {
		t.Fatal("the second encoding differs from the first")
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	for _, r := range err.Error() {
		if !unicode.IsPrint(r) {
			t.Fatalf("the error contains unprintable characters: %q", err)
		}
	}
	if len(err.Error()) > 300 {
		t.Fatalf("the error is %d bytes long", len(err.Error()))
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		snap, err := catalog.Decode(content)
		if err != nil {
			checkError(t, err)
			return
		}
		checkRoundTrip(t, snap)
	})
}

func FuzzDecodeEvent(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		snap, err := catalog.DecodeEvent(content)
		if err != nil {
			checkError(t, err)
			return
		}
		checkRoundTrip(t, snap)
	})
}

func FuzzStream(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		stream := catalog.NewStream(bytes.NewReader(content), 8<<10)
		for {
			snap, err := stream.Next()
			if err != nil {
				checkError(t, err)
				return
			}
			checkRoundTrip(t, snap)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	pushes := updates(f)
	for n, push := range pushes[1:] {
		f.Add(pushes[n], push)
	}
	f.Fuzz(func(t *testing.T, before, content []byte) {
		var decoder catalog.Decoder
		for _, c := range [][]byte{before, content, before} {
			checkSame(t, decoder.DecodeEvent, catalog.DecodeEvent, bytes.Clone(c))
			checkSame(t, decoder.DecodeWatch, catalog.DecodeWatch, bytes.Clone(c))
		}
	})
}
