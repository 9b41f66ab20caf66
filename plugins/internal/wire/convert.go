package sdk

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

func documentFromWire(d *wire.Document) Document {
	doc := Document{Pipeline: d.GetPipeline(), Generation: d.GetGeneration(), Digest: d.GetDigest(), Retry: d.GetRetry(),
		Watched: d.GetWatched(), LoadFailure: d.GetLoadFailure()}
	for _, f := range d.GetFiles() {
		doc.Files = append(doc.Files, File{Name: f.GetName(), Content: f.GetContent()})
	}
	return doc
}

func failureToWire(err error) *wire.Failure {
	if err == nil {
		return nil
	}
	failure := &wire.Failure{Code: codeOf(err), Message: text(err.Error())}
	if retry, ok := errors.AsType[*RetryError](err); ok {
		failure.RetryAfter = durationpb.New(retry.After)
	}
	if deferred, ok := errors.AsType[*DeferredError](err); ok {
		failure.RetryAfter = durationpb.New(deferred.After)
	}
	if rejection, ok := errors.AsType[*Rejection](err); ok && len(rejection.Places) > 0 {
		// What an error around it says stays; the places travel by themselves.
		failure.Message = text(strings.Replace(err.Error(), rejection.Error(), rejection.Err.Error(), 1))
		failure.Places = placesToWire(rejection.Places)
	}
	return failure
}

// codeOf returns the first of the kinds that err is.
func codeOf(err error) wire.Failure_Code {
	_, rejected := errors.AsType[*Rejection](err)
	_, notLoaded := errors.AsType[*NotLoadedError](err)
	switch {
	case errors.Is(err, ErrRejected):
		return wire.Failure_CODE_REJECTED
	case errors.Is(err, ErrDeferred):
		return wire.Failure_CODE_DEFERRED
	case notLoaded:
		return wire.Failure_CODE_NOT_LOADED
	case rejected:
		return wire.Failure_CODE_REFUSED
	case errors.Is(err, context.Canceled):
		return wire.Failure_CODE_CANCELED
	default:
		return wire.Failure_CODE_UNSPECIFIED
	}
}

func placesToWire(places []Place) []*wire.Place {
	var out []*wire.Place
	for _, p := range places {
		out = append(out, &wire.Place{
			File: text(p.File), Path: text(p.Path), Line: int64(p.Line), Problem: text(p.Problem),
		})
	}
	return out
}

func snapshotToWire(s Snapshot) *wire.Snapshot {
	out := &wire.Snapshot{
		Source: text(s.Source), Cluster: text(s.Cluster), Taken: timeToWire(s.Taken), Changed: timeToWire(s.Changed),
	}
	for _, service := range s.Services {
		w := &wire.Service{Name: text(service.Name)}
		for _, i := range service.Instances {
			if i.Invalid == "" { // else it would pass for one that can be read
				w.Instances = append(w.Instances, instanceToWire(i))
			}
		}
		out.Services = append(out.Services, w)
	}
	if s.Last != nil {
		out.Last = &wire.Change{
			Instance:       instanceToWire(s.Last.Instance),
			PreviousStatus: int64(s.Last.PreviousStatus),
			Time:           timeToWire(s.Last.Time),
		}
	}
	return out
}

func instanceToWire(i Instance) *wire.Instance {
	out := &wire.Instance{
		Id: text(i.ID), Name: text(i.Name), Image: text(i.Image), Hostname: text(i.Hostname), ProxyMode: text(i.ProxyMode),
		Status: int64(i.Status), Created: timeToWire(i.Created), Updated: timeToWire(i.Updated), Labels: textsOf(i.Labels),
	}
	for _, p := range i.Ports {
		out.Ports = append(out.Ports, &wire.Port{
			Type: text(p.Type), Port: p.Port, ServicePort: p.ServicePort, Ip: text(p.IP),
		})
	}
	return out
}

// timeToWire leaves the zero time out: it has no place in a protobuf timestamp's meaning.
func timeToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// text makes s fit for a protobuf string, which has to be UTF-8: a program's own words, or a catalogue's, may be anything.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func texts(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

func textsOf(table map[string]string) map[string]string {
	if table == nil {
		return nil
	}
	out := make(map[string]string, len(table))
	for key, value := range table {
		out[text(key)] = text(value)
	}
	return out
}
