// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineservice"
)

type spec = v1alpha5.VirtualMachineServiceSpec

func TestRules(t *testing.T) {
	of := func(kind v1alpha5.VirtualMachineServiceType, change ...func(*spec)) func(*spec) {
		return func(s *spec) {
			s.Type = kind
			for _, one := range change {
				one(s)
			}
		}
	}
	const inside, outside, elsewhere = v1alpha5.VirtualMachineServiceTypeClusterIP,
		v1alpha5.VirtualMachineServiceTypeLoadBalancer, v1alpha5.VirtualMachineServiceTypeExternalName
	port := func(name, protocol string, number, target int32) v1alpha5.VirtualMachineServicePort {
		return v1alpha5.VirtualMachineServicePort{Name: name, Protocol: protocol, Port: number, TargetPort: target}
	}
	for name, test := range map[string]struct {
		change func(*spec)
		want   []string
	}{
		"of each type: LoadBalancer": {change: of(outside, func(s *spec) {
			s.LoadBalancerIP, s.LoadBalancerSourceRanges = "192.0.2.7", []string{"198.51.100.0/24", " 203.0.113.0/24"}
		})},
		"of each type: ClusterIP": {change: of(inside, func(s *spec) { s.ClusterIP = "10.96.0.7" })},
		"of each type: ExternalName": {change: of(elsewhere, func(s *spec) {
			s.ExternalName, s.Ports, s.Selector = "www.example.com.", nil, nil
		})},
		"headless":                   {change: of(inside, func(s *spec) { s.ClusterIP, s.Ports = "None", nil })},
		"without a type":             {change: of(""), want: []string{"spec.type"}},
		"NodePort":                   {change: of("NodePort"), want: []string{"spec.type"}},
		"without ports":              {change: of(inside, func(s *spec) { s.Ports = nil }), want: []string{"spec.ports"}},
		"headless from outside":      {change: of(outside, func(s *spec) { s.ClusterIP = "None" }), want: []string{"spec.clusterIp"}},
		"no address":                 {change: of(inside, func(s *spec) { s.ClusterIP = "ten" }), want: []string{"spec.clusterIp"}},
		"an address of another host": {change: of(elsewhere, func(s *spec) { s.ExternalName, s.ClusterIP = "a", "10.96.0.7" }), want: []string{"spec.clusterIp"}},
		"no other host":              {change: of(elsewhere), want: []string{"spec.externalName"}},
		"no host name":               {change: of(elsewhere, func(s *spec) { s.ExternalName = "a b" }), want: []string{"spec.externalName"}},
		"another host where none is": {change: of(inside, func(s *spec) { s.ExternalName = "a" }), want: []string{"spec.externalName"}},
		"from outside where it is not": {change: of(inside, func(s *spec) {
			s.LoadBalancerIP, s.LoadBalancerSourceRanges = "192.0.2.7", []string{"198.51.100.0/24"}
		}), want: []string{"spec.loadBalancerIP", "spec.loadBalancerSourceRanges"}},
		"no network": {change: of(outside, func(s *spec) { s.LoadBalancerSourceRanges = []string{"198.51.100.0"} }), want: []string{"spec.loadBalancerSourceRanges[0]"}},
		"no label":   {change: of(inside, func(s *spec) { s.Selector = map[string]string{"a b": "c"} }), want: []string{"spec.selector"}},
		"ports": {change: of(inside, func(s *spec) {
			s.Ports = []v1alpha5.VirtualMachineServicePort{
				port("a", "TCP", 80, 8080), port("a", "UDP", 80, 8080), port("", "TCP", 81, 8080), port("B", "HTTP", 0, 70000),
				port("c", "", 82, 1), port("d", "TCP", 80, 1),
			}
		}), want: []string{"spec.ports[1].name", "spec.ports[2].name", "spec.ports[3].name", "spec.ports[3].protocol", "spec.ports[3].port",
			"spec.ports[3].targetPort", "spec.ports[4].protocol", "spec.ports[5].port"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := service("team-a", "web")
			test.change(&object.Spec)
			errs := virtualmachineservice.Kind().Rules.Validate(t.Context(), object)
			if diff := cmp.Diff(test.want, paths(errs)); diff != "" {
				t.Errorf("refused (-want +got):\n%s\n%v", diff, errs)
			}
		})
	}
	long := service("team-a", "web.example")
	if got := paths(virtualmachineservice.Kind().Rules.Validate(t.Context(), long)); !cmp.Equal(got, []string{"metadata.name"}) {
		t.Errorf("a name that no core Service can have: %v", got)
	}
}

func paths(errs field.ErrorList) []string {
	var paths []string
	for _, err := range errs {
		paths = append(paths, err.Field)
	}
	return paths
}

func TestImmutable(t *testing.T) {
	before := service("team-a", "web")
	before.ResourceVersion = "1"
	after := before.DeepCopy()
	rules := virtualmachineservice.Kind().Rules
	after.Spec.Ports[0].TargetPort, after.Spec.Selector = 8081, map[string]string{"app": "other"}
	if errs := rules.ValidateUpdate(t.Context(), after, before); len(errs) > 0 {
		t.Errorf("another port and selector: %v", errs)
	}
	after.Spec.Type, after.Spec.ClusterIP = v1alpha5.VirtualMachineServiceTypeClusterIP, "10.96.0.7"
	if diff := cmp.Diff([]string{"spec.type", "spec.clusterIp"}, paths(rules.ValidateUpdate(t.Context(), after, before))); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// All versions say the same.
func TestVersions(t *testing.T) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	want := service("team-a", "web")
	want.Status.LoadBalancer.Ingress = []v1alpha5.LoadBalancerIngress{{IP: "192.0.2.7"}}
	for _, version := range install.Versions()[1:] {
		older, err := scheme.UnsafeConvertToVersion(want, version)
		if err != nil {
			t.Fatal(err)
		}
		back, err := scheme.UnsafeConvertToVersion(older, runtime.InternalGroupVersioner)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, back); diff != "" {
			t.Errorf("%s and back (-want +got):\n%s", version, diff)
		}
	}
}
