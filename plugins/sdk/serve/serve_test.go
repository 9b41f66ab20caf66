package serve

import (
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestSinkPanics_ConfigurationCannotBeDecoded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it serves")
		}
	}()
	Sink[map[string]any](sdk.Info{}, nil, nil)
}
