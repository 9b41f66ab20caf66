package daemon

import (
	"testing"
	"time"
)

// docs/haproxy.md says that the daemon ends within five seconds.
func TestShutdown_LimitsWithinFiveSeconds(t *testing.T) {
	if all := shutdownTimeout + storeTimeout; all >= 5*time.Second {
		t.Errorf("a shutdown may take %v", all)
	}
	if parts := changesTimeout + stopTimeout + time.Second; parts > shutdownTimeout { // a plugin is killed within a second
		t.Errorf("the parts of a shutdown may take %v of %v", parts, shutdownTimeout)
	}
}
