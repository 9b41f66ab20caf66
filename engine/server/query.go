package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine"
)

// parseQuery returns the parameters of a request, each of which has one value. The error names a parameter that is none of known
// or that has several values.
func parseQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.New("the parameters are not encoded as those of a URL")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("parameter %s: it is unknown", engine.OneLine(name))
		case len(values) > 1:
			return nil, fmt.Errorf("parameter %s: it is given more than once", name)
		}
	}
	return query, nil
}
