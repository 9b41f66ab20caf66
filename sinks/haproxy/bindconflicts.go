package haproxy

import (
	"fmt"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
)

// Conflicts returns the pairs of lines in different sections of the main file that make HAProxy listen on the same address.
// HAProxy accepts them, and connections for one section arrive in the other: at random with SO_REUSEPORT, and at the more
// specific address where the other one is that of every interface. Lines of one section may share an address, for example for
// several threads.
func Conflicts(files []sdk.File) [][2]sdk.Position {
	if len(files) == 0 {
		return nil
	}
	main := files[0]
	var found [][2]sdk.Position
	all := listen.Listeners(main.Content)
	byPort := make(map[uint16][]int, len(all)) // of those before, those with one port
	var ranges []int                           // of those before, all others
	for n, l := range all {
		candidates := slices.Concat(byPort[l.Low], ranges)
		if l.IsRange() {
			candidates = indexes(n)
		}
		for _, i := range candidates {
			if all[i].Section != l.Section && all[i].Shares(l) {
				found = append(found, [2]sdk.Position{position(all[i], main.Name), position(l, main.Name)})
			}
		}
		if l.IsRange() {
			ranges = append(ranges, n)
		} else {
			byPort[l.Low] = append(byPort[l.Low], n)
		}
	}
	return found
}

func position(l listen.Listener, file string) sdk.Position {
	return sdk.Position{File: file, Line: l.Line, Problem: fmt.Sprintf("%s in %s listens on %s", l.Word, l.In, l.Address)}
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
