package server

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	defaultInstances = 200  // in one answer
	maxInstances     = 1000 // in one answer
)

// An instanceQuery selects instances.
type instanceQuery struct {
	text     string   // in lower case; is contained in the service, the host name, the ID or an address; "" for all
	service  string   // "" for all
	statuses []string // or markExcluded; empty for all
	offset   int
	limit    int
	summary  bool
}

var instanceStatuses = []string{
	"alive", "unhealthy", "draining", "tombstone", "unknown", statusQuarantined, markExcluded,
}

// newInstanceQuery returns the query with these parameters. The error names the first parameter that is invalid.
func newInstanceQuery(parameters url.Values) (instanceQuery, error) {
	q := instanceQuery{limit: defaultInstances}
	for name, values := range parameters {
		value := values[0]
		var err error
		switch name {
		case "q":
			q.text = strings.ToLower(strings.TrimSpace(value))
		case "service":
			q.service = value
		case "status":
			q.statuses, err = parseNames(value, instanceStatuses)
		case "offset":
			if q.offset, err = strconv.Atoi(value); err != nil || q.offset < 0 {
				err = errors.New("it must be a number from 0 on")
			}
		case "limit":
			if q.limit, err = strconv.Atoi(value); err != nil || q.limit < 0 || q.limit > maxInstances {
				err = fmt.Errorf("it must be a number from 0 to %d", maxInstances)
			}
		case "summary":
			if q.summary, err = strconv.ParseBool(value); err != nil {
				err = errors.New("it must be true or false")
			}
		}
		if err != nil {
			return q, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return q, nil
}

// run returns the selected instances of all.
func (q *instanceQuery) run(all []instanceRow) InstanceList {
	list := InstanceList{Total: len(all), Instances: []Instance{}}
	for i := range all {
		row := &all[i]
		if !q.matches(row) {
			continue
		}
		list.Counts.add(row)
		if !q.hasStatus(row) {
			continue
		}
		if list.Matched >= q.offset && len(list.Instances) < q.limit {
			list.Instances = append(list.Instances, row.row())
		}
		list.Matched++
		if n := len(list.Summary); n == 0 || list.Summary[n-1].Service != row.service {
			list.Summary = append(list.Summary, ServiceCounts{Service: row.service})
		}
		list.Summary[len(list.Summary)-1].Counts.add(row)
	}
	list.Services = len(list.Summary)
	if !q.summary {
		list.Summary = nil
	}
	return list
}

func (q *instanceQuery) hasStatus(row *instanceRow) bool {
	return len(q.statuses) == 0 || slices.Contains(q.statuses, row.statusName()) ||
		row.excluded != "" && slices.Contains(q.statuses, markExcluded)
}

// matches reports whether row is selected by everything but its status.
func (q *instanceQuery) matches(row *instanceRow) bool {
	if q.service != "" && row.service != q.service {
		return false
	}
	if q.text == "" || q.isIn(row.service) || q.isIn(row.Hostname) || q.isIn(row.ID) {
		return true
	}
	return slices.ContainsFunc(row.Ports, func(port sdk.Port) bool { return q.isIn(addressOfPort(row.Instance, port)) })
}

func (q *instanceQuery) isIn(text string) bool {
	return strings.Contains(strings.ToLower(text), q.text)
}
