package engine

import (
	"errors"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Rejections of thousands of lines must not take much memory.
func TestHistory_DropsPositionsOfLongRejection(t *testing.T) {
	positions := make([]sdk.Position, 20_000)
	for _, err := range []error{
		&sdk.Rejection{Err: errors.New("no"), Positions: positions},
		sdk.RetryAfter(&sdk.Rejection{Err: errors.New("no"), Positions: positions, Temporary: true}, 1),
	} {
		var h entries
		h.add(Entry{Err: err})
		kept, _ := h.last()
		rejection, ok := errors.AsType[*sdk.Rejection](kept.Err)
		if !ok || len(rejection.Positions) > 0 || kept.Err.Error() != err.Error() ||
			errors.Is(kept.Err, sdk.ErrRejected) != errors.Is(err, sdk.ErrRejected) {
			t.Errorf("kept %T with %d positions", kept.Err, len(rejection.Positions))
		}
	}
}
