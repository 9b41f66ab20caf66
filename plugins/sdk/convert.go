package sdk

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

func documentFromWire(d *wire.Document) Document {
	doc := Document{Pipeline: d.GetPipeline(), Generation: d.GetGeneration(), Digest: d.GetDigest()}
	for _, f := range d.GetFiles() {
		doc.Files = append(doc.Files, File{Name: f.GetName(), Content: f.GetContent()})
	}
	return doc
}

func failureToWire(err error) *wire.Failure {
	if err == nil {
		return nil
	}
	failure := &wire.Failure{Message: err.Error()}
	if retry, ok := errors.AsType[*RetryError](err); ok {
		failure.RetryAfter = durationpb.New(retry.After)
	}
	switch {
	case errors.Is(err, ErrRejected):
		failure.Code = wire.Failure_CODE_REJECTED
	case errors.Is(err, context.Canceled):
		failure.Code = wire.Failure_CODE_CANCELED
	}
	return failure
}

func snapshotToWire(s Snapshot) *wire.Snapshot {
	out := &wire.Snapshot{
		Source: s.Source, Cluster: s.Cluster, Taken: timeToWire(s.Taken), Changed: timeToWire(s.Changed),
	}
	for _, service := range s.Services {
		w := &wire.Service{Name: service.Name}
		for _, i := range service.Instances {
			w.Instances = append(w.Instances, instanceToWire(i))
		}
		out.Services = append(out.Services, w)
	}
	if s.Last != nil {
		out.Last = &wire.Change{
			Instance:       instanceToWire(s.Last.Instance),
			PreviousStatus: int32(s.Last.PreviousStatus), //nolint:gosec // five values
			Time:           timeToWire(s.Last.Time),
		}
	}
	return out
}

func instanceToWire(i Instance) *wire.Instance {
	out := &wire.Instance{
		Id: i.ID, Name: i.Name, Image: i.Image, Hostname: i.Hostname, ProxyMode: i.ProxyMode,
		Status:  int32(i.Status), //nolint:gosec // five values
		Created: timeToWire(i.Created), Updated: timeToWire(i.Updated), Labels: i.Labels,
	}
	for _, p := range i.Ports {
		out.Ports = append(out.Ports, &wire.Port{Type: p.Type, Port: p.Port, ServicePort: p.ServicePort, Ip: p.IP})
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
