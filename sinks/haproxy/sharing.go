package haproxy

import (
	"fmt"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Conflicts returns the pairs of lines in different sections of the main file that make HAProxy listen on one address. HAProxy
// accepts them, and connections for one section arrive in the other: with SO_REUSEPORT at random, and where one of the addresses
// is that of every interface, at the more specific one. Lines of one section may share an address, such as for several threads.
func Conflicts(files []sdk.File) [][2]sdk.Place {
	if len(files) == 0 {
		return nil
	}
	main := files[0]
	var found [][2]sdk.Place
	var before []listener
	byPort := map[uint16][]int{} // of before, those with one port
	var ranges []int             // of before, all others
	for _, l := range listenersOf(main.Content) {
		candidates := slices.Concat(byPort[l.low], ranges)
		if l.isRange() {
			candidates = indexes(len(before))
		}
		for _, i := range candidates {
			if before[i].section != l.section && before[i].shares(l) {
				found = append(found, [2]sdk.Place{before[i].place(main.Name), l.place(main.Name)})
			}
		}
		if l.isRange() {
			ranges = append(ranges, len(before))
		} else {
			byPort[l.low] = append(byPort[l.low], len(before))
		}
		before = append(before, l)
	}
	return found
}

func (l listener) isRange() bool { return l.low != l.high }

// shares reports whether both take connections for one address.
func (l listener) shares(other listener) bool {
	one, two := l.option("interface"), other.option("interface")
	return l.overlaps(other.listenAddress) && l.option("namespace") == other.option("namespace") &&
		(one == two || one == "" || two == "")
}

func (l listener) place(file string) sdk.Place {
	return sdk.Place{File: file, Line: l.line, Problem: fmt.Sprintf("%s in %s listens on %s", l.word, l.in, l.listenAddress)}
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
