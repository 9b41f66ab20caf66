package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Health reports the queries that fail at present, one problem for each reason.
func (s *source) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: s.problems.list()}, nil
}

// problems has the reason why each query fails.
type problems struct {
	mu     sync.Mutex
	failed map[string]problem // by the name of the query
	logged map[string]bool    // the kinds since a query failed first
}

type problem struct {
	kind   string // the same for all queries that fail for one reason
	detail string
}

func (p *problems) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.failed)
	clear(p.logged)
}

// set records that a query fails, unless ctx is done. Hundreds of queries fail for one reason if Consul is unreachable, so each
// kind of problem is logged once.
func (p *problems) set(ctx context.Context, log *slog.Logger, query string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if p.failed == nil {
		p.failed, p.logged = map[string]problem{}, map[string]bool{}
	}
	problem := problemOf(err)
	p.failed[query] = problem
	if !p.logged[problem.kind] {
		p.logged[problem.kind] = true
		log.Warn("reading from Consul failed, keeping the present services",
			"reason", problem.kind, "query", query, "error", problem.detail)
	}
}

// remove records that a query does not fail, or is not made any more.
func (p *problems) remove(log *slog.Logger, query string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, failed := p.failed[query]; !failed {
		return
	}
	delete(p.failed, query)
	if len(p.failed) == 0 {
		clear(p.logged)
		log.Info("Consul responds again")
	}
}

// list returns one sentence for each kind of problem.
func (p *problems) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	queries := map[string][]string{} // by kind
	for _, query := range slices.Sorted(maps.Keys(p.failed)) {
		kind := p.failed[query].kind
		queries[kind] = append(queries[kind], query)
	}
	var sentences []string
	for _, kind := range slices.Sorted(maps.Keys(queries)) {
		first := queries[kind][0]
		sentence := fmt.Sprintf("%s: %s (%s", kind, p.failed[first].detail, first)
		if more := len(queries[kind]) - 1; more > 0 {
			sentence += fmt.Sprintf(" and %d more", more)
		}
		sentences = append(sentences, sentence+")")
	}
	return sentences
}

func problemOf(err error) problem {
	if status, ok := errors.AsType[api.StatusError](err); ok {
		const longest = 200 // of the text, which may be a page
		text := strings.ToValidUTF8(status.Body[:min(len(status.Body), longest)], "")
		if status.Code == http.StatusTooManyRequests {
			text += "; each service needs a connection: see http_max_conns_per_client of the agent, and services of this source"
		}
		return problem{fmt.Sprintf("Consul returned status %d", status.Code), text}
	}
	if failed, ok := errors.AsType[*url.Error](err); ok { // its text has the URL, which differs
		return problem{"Consul does not respond", failed.Err.Error()}
	}
	if errors.Is(err, errTimeout) {
		return problem{"Consul does not respond", err.Error()}
	}
	return problem{"Consul's response is invalid", err.Error()}
}
