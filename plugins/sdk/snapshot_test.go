package sdk

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGroupByName_AnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var instances []Instance
	for range 200 {
		instances = append(instances, Instance{
			Name: fmt.Sprint("s", random.IntN(5)), Hostname: fmt.Sprint("h", random.IntN(4)), ID: fmt.Sprint(random.IntN(4)),
			Image: fmt.Sprint(random.IntN(2)), Status: Status(random.IntN(5)), Created: time.Unix(random.Int64N(3), 0),
			Ports:  []Port{{Port: random.Int64N(3)}},
			Labels: map[string]string{"a": fmt.Sprint(random.IntN(3)), "b": ""},
		})
	}
	want := GroupByName(instances)
	for range 20 {
		random.Shuffle(len(instances), func(i, j int) { instances[i], instances[j] = instances[j], instances[i] })
		if diff := cmp.Diff(want, GroupByName(instances)); diff != "" {
			t.Fatal(diff)
		}
	}
	for i := 1; i < len(want); i++ {
		if want[i-1].Name >= want[i].Name {
			t.Errorf("%s comes before %s", want[i-1].Name, want[i].Name)
		}
	}
}

func TestInstanceVersion(t *testing.T) {
	for image, want := range map[string]string{
		"web:1.2": "1.2", "web": "web", "registry:5000/web:1.2": "5000/web", "": "",
	} {
		if got := (Instance{Image: image}).Version(); got != want {
			t.Errorf("%q has version %q, want %q", image, got, want)
		}
	}
}

func TestStatusName(t *testing.T) {
	for status, want := range map[Status]string{
		0: "Alive", 1: "Tombstone", 2: "Unhealthy", 3: "Unknown", 4: "Draining", 5: "Tombstone", -1: "Tombstone",
	} {
		if got := (Instance{Status: status}).StatusString(); got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}
