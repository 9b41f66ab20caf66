package containers_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are the objects of examples/kubernetes.
type manifests struct {
	config     corev1.ConfigMap
	deployment appsv1.Deployment
	service    corev1.Service
	budget     policyv1.PodDisruptionBudget
}

// loadManifests builds the kustomization and decodes each object, without unknown or repeated keys.
func loadManifests(t *testing.T) manifests {
	t.Helper()
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	objects, err := kustomizer.Run(filesys.MakeFsOnDisk(), repository+"/examples/kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	var m manifests
	into := map[string]any{
		"ConfigMap": &m.config, "Deployment": &m.deployment, "Service": &m.service, "PodDisruptionBudget": &m.budget,
	}
	for _, object := range objects.Resources() {
		content, err := object.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		target, known := into[object.GetKind()]
		if !known {
			t.Fatalf("unexpected object: %s", object.GetKind())
		}
		delete(into, object.GetKind())
		if err := yaml.UnmarshalStrict(content, target); err != nil {
			t.Errorf("%s: %v", object.GetKind(), err)
		}
	}
	for kind := range into {
		t.Errorf("no object of the kind %s", kind)
	}
	// The kustomization may drop what a plain file has.
	for file, target := range map[string]any{
		"configmap": &corev1.ConfigMap{}, "deployment": &appsv1.Deployment{}, "service": &corev1.Service{},
		"poddisruptionbudget": &policyv1.PodDisruptionBudget{},
	} {
		if err := yaml.UnmarshalStrict(readFile(t, repository+"/examples/kubernetes/"+file+".yaml"), target); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	return m
}

// The pod satisfies the Pod Security Standard "restricted", and its root file system is read-only.
func TestKubernetes_Restricted(t *testing.T) {
	pod := loadManifests(t).deployment.Spec.Template.Spec
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser != 10001 || s.FSGroup == nil ||
		*s.FSGroup != 10001 || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context: %+v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || len(pod.InitContainers) > 0 || len(pod.Containers) != 1 {
		t.Error("the pod uses namespaces of the host, or has other containers")
	}
	c := pod.Containers[0].SecurityContext
	if c == nil || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || c.ReadOnlyRootFilesystem == nil ||
		!*c.ReadOnlyRootFilesystem || c.Capabilities == nil || len(c.Capabilities.Add) > 0 ||
		!slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the container's security context: %+v", c)
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap == nil && v.EmptyDir == nil {
			t.Errorf("volume %s is neither a ConfigMap nor an emptyDir", v.Name)
		}
	}
}

// The objects select each other, and ports are named where they are used.
func TestKubernetes_References(t *testing.T) {
	m := loadManifests(t)
	labels := m.deployment.Spec.Template.Labels
	for name, selector := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector,
		"PodDisruptionBudget": m.budget.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 {
			t.Errorf("%s selects everything", name)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s selects %s=%s, and pods have %q", name, key, value, labels[key])
			}
		}
	}
	container := m.deployment.Spec.Template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for _, p := range m.service.Spec.Ports {
		if ports[p.TargetPort.StrVal] == 0 {
			t.Errorf("the Service's port %s is none of the container", p.TargetPort.String())
		}
	}
	for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || ports[probe.HTTPGet.Port.StrVal] != 7778 {
			t.Errorf("probe %+v", probe)
		}
	}
	for _, v := range m.deployment.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name != m.config.Name {
			t.Errorf("volume %s of the ConfigMap %s", v.Name, v.ConfigMap.Name)
		}
	}
	for _, mount := range container.VolumeMounts {
		if mount.SubPath != "" {
			t.Errorf("%s has a subPath, which Kubernetes does not update", mount.MountPath)
		}
	}
}

// The grace period covers preStop, drain_timeout (30 s) and the shutdown of haproxy-api (5 s).
func TestKubernetes_GracePeriod(t *testing.T) {
	pod := loadManifests(t).deployment.Spec.Template.Spec
	hook := pod.Containers[0].Lifecycle.PreStop
	if hook == nil || hook.Exec == nil || !slices.Equal(hook.Exec.Command, []string{"sleep", "5"}) {
		t.Fatalf("preStop %+v", hook)
	}
	if grace := pod.TerminationGracePeriodSeconds; grace == nil || *grace < 5+30+5 {
		t.Errorf("the grace period is %v", grace)
	}
}
