// Package exclude finds the services and instances that a document cannot be applied with, and renders and applies the document
// without them, so that one bad instance affects only itself.
//
// A service or an instance is excluded if the sink rejects a line that belongs to it, if the template's iteration over it fails,
// or if its lines conflict with those of a service that has precedence. The package knows only the SDK: the caller provides the
// functions that render and apply a document.
package exclude

import (
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Exclusion is a service or an instance that a document was rendered without. It ends when the snapshot says something else
// about it, when the template changes, and when its reason may be over: at the time that the sink named, or a minute after an
// iteration failed.
type Exclusion struct {
	Service      string
	Hostname, ID string // of the instance; both are empty for a whole service
	Reason       string // the positions in the document and in the template, and the problem
}

// WholeService reports whether all instances of the service are excluded.
func (e Exclusion) WholeService() bool { return e.Hostname == "" && e.ID == "" }

func (e Exclusion) owner() owner { return owner{e.Service, !e.WholeService(), e.Hostname, e.ID} }

// An owner is the service or the instance that a line of a document belongs to. The zero owner is the template itself.
type owner struct {
	service      string
	instance     bool // false for the whole service
	hostname, id string
}

func ownerOf(o Origin) owner {
	if o.Instance == nil {
		return owner{service: o.Service}
	}
	return instanceOwner(o.Service, o.Instance)
}

func instanceOwner(service string, i *sdk.Instance) owner {
	return owner{service, true, i.Hostname, i.ID}
}

func (o owner) wholeService() owner { return owner{service: o.service} }
