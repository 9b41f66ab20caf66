package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A plugin that sends positions rejects the document, also with a code that this host does not know.
func TestDecodeError_PositionsWithoutARejection(t *testing.T) {
	positions := []*Position{{File: "main", Line: 7, Problem: "no such host"}}
	for code, isRejection := range map[Failure_Code]bool{
		Failure_CODE_UNSPECIFIED: true, 1000: true,
		Failure_CODE_DEFERRED: false, Failure_CODE_NOT_LOADED: false,
		Failure_CODE_UNSUPPORTED: false, Failure_CODE_CANCELED: false,
	} {
		err := DecodeError(&Failure{Code: code, Message: "rejected", Positions: positions})
		rejection, ok := errors.AsType[*sdk.Rejection](err)
		switch {
		case ok != isRejection:
			t.Errorf("%v: got %v", code, err)
		case ok && (!rejection.Temporary || errors.Is(err, sdk.ErrRejected) || len(rejection.Positions) != 1):
			t.Errorf("%v: got %+v", code, rejection)
		}
	}
	if err := DecodeError(&Failure{Message: "failed"}); errors.As(err, new(*sdk.Rejection)) {
		t.Errorf("without positions it is a rejection: %v", err)
	}
}

func TestEncodeError_SystemCallIsNotUnsupported(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP} {
		err := fmt.Errorf("writing: %w", &os.PathError{Op: "sync", Path: "x", Err: errno})
		if got := EncodeError(err).GetCode(); got != Failure_CODE_UNSPECIFIED {
			t.Errorf("%v: got %v", errno, got)
		}
	}
}

func TestEncodeError_RejectionWithoutErr(t *testing.T) {
	for _, rejection := range []*sdk.Rejection{
		{}, {Temporary: true}, {Positions: []sdk.Position{{File: "main", Line: 7, Problem: "wrong"}}},
	} {
		failure := EncodeError(rejection)
		if failure.GetCode() != Failure_CODE_REJECTED || failure.GetMessage() != sdk.ErrRejected.Error() ||
			len(failure.GetPositions()) != len(rejection.Positions) {
			t.Errorf("%+v: got %v", rejection, failure)
		}
		if errors.Is(rejection, sdk.ErrRejected) == rejection.Temporary {
			t.Errorf("%+v is ErrRejected: %v", rejection, !rejection.Temporary)
		}
	}
}
