package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// EncodeSnapshot returns s as a message. It leaves out instances that the source could not read ([sdk.Instance].Invalid), since
// the message cannot express that.
func EncodeSnapshot(s sdk.Snapshot) *Snapshot {
	out := &Snapshot{
		Source: Text(s.Source), Cluster: Text(s.Cluster), Taken: encodeTime(s.Taken), Changed: encodeTime(s.Changed),
		Cause: encodeWord(causes, s.Cause, SnapshotCause_SNAPSHOT_CAUSE_UNSPECIFIED), Sender: Text(s.Sender),
	}
	for _, service := range s.Services {
		w := &Service{Name: Text(service.Name)}
		for _, i := range service.Instances {
			if i.Invalid == "" {
				w.Instances = append(w.Instances, encodeInstance(i))
			}
		}
		out.Services = append(out.Services, w)
	}
	if s.Last != nil {
		out.Last = &Change{
			Instance:       encodeInstance(s.Last.Instance),
			PreviousStatus: encodeStatus(s.Last.PreviousStatus),
			Time:           encodeTime(s.Last.Time),
		}
	}
	return out
}

// DecodeSnapshot returns the snapshot of a message. It groups and sorts the instances again: consumers rely on the order, so it
// must not depend on the plugin.
func DecodeSnapshot(w *Snapshot) sdk.Snapshot {
	snap := sdk.Snapshot{
		Source: w.GetSource(), Cluster: w.GetCluster(),
		Taken: decodeTime(w.GetTaken()), Changed: decodeTime(w.GetChanged()),
		Cause: decodeWord(causes, w.GetCause(), ""), Sender: Truncate(w.GetSender(), MaxName),
	}
	count := 0
	for _, service := range w.GetServices() {
		count += len(service.GetInstances())
	}
	all := make([]sdk.Instance, 0, count)
	for _, service := range w.GetServices() {
		for _, i := range service.GetInstances() {
			all = append(all, decodeInstance(i))
		}
	}
	snap.Services = sdk.GroupByName(all)
	if last := w.GetLast(); last != nil {
		snap.Last = &sdk.Change{
			Instance:       decodeInstance(last.GetInstance()),
			PreviousStatus: sdk.Status(last.GetPreviousStatus()),
			Time:           decodeTime(last.GetTime()),
		}
	}
	return snap
}

// causes are the words of package sdk for what made a source emit a snapshot.
var causes = map[string]SnapshotCause{
	"":              SnapshotCause_SNAPSHOT_CAUSE_UNSPECIFIED,
	sdk.CausePush:   SnapshotCause_SNAPSHOT_CAUSE_PUSH,
	sdk.CauseWatch:  SnapshotCause_SNAPSHOT_CAUSE_WATCH,
	sdk.CauseResync: SnapshotCause_SNAPSHOT_CAUSE_RESYNC,
}

func encodeInstance(i sdk.Instance) *Instance {
	out := &Instance{
		Id: Text(i.ID), Name: Text(i.Name), Image: Text(i.Image), Hostname: Text(i.Hostname), ProxyMode: Text(i.ProxyMode),
		Status: encodeStatus(i.Status), Created: encodeTime(i.Created), Updated: encodeTime(i.Updated),
		Labels: encodeTextMap(i.Labels),
	}
	for _, p := range i.Ports {
		out.Ports = append(out.Ports, &Port{
			Type: Text(p.Type), Port: p.Port, ServicePort: p.ServicePort, Ip: Text(p.IP),
		})
	}
	return out
}

func decodeInstance(w *Instance) sdk.Instance {
	i := sdk.Instance{
		ID: w.GetId(), Name: w.GetName(), Image: w.GetImage(), Hostname: w.GetHostname(), ProxyMode: w.GetProxyMode(),
		Status: sdk.Status(w.GetStatus()), Created: decodeTime(w.GetCreated()), Updated: decodeTime(w.GetUpdated()),
		Labels: w.GetLabels(),
	}
	for _, p := range w.GetPorts() {
		i.Ports = append(i.Ports, sdk.Port{
			Type: p.GetType(), Port: p.GetPort(), ServicePort: p.GetServicePort(), IP: p.GetIp(),
		})
	}
	return i
}

// encodeStatus returns s as an enum value, which has the same number. A number that no enum has room for stays unknown.
func encodeStatus(s sdk.Status) InstanceStatus {
	return InstanceStatus(max(math.MinInt32, min(s, math.MaxInt32)))
}

// encodeTime returns nil for the zero time, which no protobuf timestamp stands for.
func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func decodeTime(t *timestamppb.Timestamp) time.Time {
	if !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}
