// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"

	"github.com/openpacific/pacific/pkg/waittest"
)

// Cluster API Provider vSphere in its supervisor mode stands on this API as on vm-operator's. What it does is told in
// its sources: pkg/services/vmoperator (vmopmachine.go, control_plane_endpoint.go, resource_policy.go) and main.go.
const (
	clusterNameLabel = "capv.vmware.com/cluster.name"
	clusterRoleLabel = "capv.vmware.com/cluster.role"
	infrastructure   = "vmware.infrastructure.cluster.x-k8s.io"
)

// clusterTypes are the kinds that own what the provider makes.
const clusterTypes = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.vmware.infrastructure.cluster.x-k8s.io}
spec:
  group: vmware.infrastructure.cluster.x-k8s.io
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL, singular: SINGULAR}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// TestClusterAPIProviderContract does what Cluster API Provider vSphere does for a cluster of a control-plane machine and
// a worker, in its order, at the oldest and the newest version that it speaks: it follows machines by their label,
// creates, writes by merge patches alone, waits for what it waits for, and asks for the same again at each turn.
func TestClusterAPIProviderContract(t *testing.T) {
	t.Parallel()
	s := running(t)
	for _, kind := range []string{"VSphereCluster", "VSphereMachine"} {
		manifest := strings.NewReplacer("KIND", kind, "PLURAL", strings.ToLower(kind)+"s", "SINGULAR", strings.ToLower(kind))
		file := filepath.Join(t.TempDir(), kind+".yaml")
		if err := os.WriteFile(file, []byte(manifest.Replace(clusterTypes)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "-f", file)
		s.Kubectl(t, "wait", "crd/"+strings.ToLower(kind)+"s."+infrastructure, "--for=condition=Established", "--timeout=30s")
	}
	for _, version := range []string{"v1alpha2", "v1alpha5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, s, version)
			p.policy()
			p.service()
			machines := []string{p.cluster + "-control-plane", p.cluster + "-worker"}
			owners := map[string]*unstructured.Unstructured{}
			for _, name := range machines {
				owners[name] = p.owner("VSphereMachine", name)
				p.create(p.machine(name, owners[name]))
			}
			for _, name := range machines {
				p.comesUp(name)
				p.asksForTheSame(name)
			}
			p.inModules(machines...)
			p.keepsRunning(machines[0])
			p.losesItsLabel(machines[1])
			p.deletes(machines[1], owners[machines[1]])
			p.collected(machines[0], owners[machines[0]])
			p.removes("VirtualMachineService", "VirtualMachineSetResourcePolicy")
		})
	}
}

// provider is Cluster API Provider vSphere as far as this API sees it.
type provider struct {
	*supervisor
	t                  *testing.T
	admin              *supervisortest.Admin
	client             client.Client // writes, and reads that are not cached
	cache              cache.Cache
	version            string
	namespace, cluster string
	owning             *unstructured.Unstructured
}

func newProvider(t *testing.T, s *supervisor, version string) *provider {
	t.Helper()
	p := &provider{supervisor: s, t: t, admin: s.Admin(t), version: version, cluster: "c-" + version,
		namespace: s.Shop(t, "capv-"+version)}
	s.Kubectl(t, "create", "secret", "generic", "bootstrap", "-n", p.namespace, "--from-literal=user-data=#cloud-config\n")
	config := s.Config(t)
	var err error
	if p.client, err = client.New(config, client.Options{Scheme: runtime.NewScheme()}); err != nil {
		t.Fatal(err)
	}
	ofCluster, err := labels.NewRequirement(clusterNameLabel, selection.Exists, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.cache, err = cache.New(config, cache.Options{
		Scheme:           runtime.NewScheme(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			p.empty("VirtualMachine"): {Label: labels.NewSelector().Add(*ofCluster)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.cache.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	// A kind whose informer cannot begin ends the manager.
	for _, kind := range []string{"VirtualMachine", "VirtualMachineService", "VirtualMachineSetResourcePolicy",
		"VirtualMachineClass", "ClusterVirtualMachineImage"} {
		if _, err := p.cache.GetInformer(t.Context(), p.empty(kind)); err != nil {
			t.Fatalf("an informer of %s: %v", kind, err)
		}
	}
	limited, cancelSync := context.WithTimeout(t.Context(), time.Minute)
	defer cancelSync()
	if !p.cache.WaitForCacheSync(limited) {
		t.Fatal("an informer has not begun after a minute")
	}
	zones := &unstructured.UnstructuredList{}
	zones.SetAPIVersion("topology.tanzu.vmware.com/v1alpha1")
	zones.SetKind("AvailabilityZoneList")
	if err := p.client.List(t.Context(), zones); err != nil || len(zones.Items) == 0 {
		t.Fatalf("failure domains: %d, %v", len(zones.Items), err)
	}
	p.owning = p.owner("VSphereCluster", p.cluster)
	return p
}

func (p *provider) empty(kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("vmoperator.vmware.com/" + p.version)
	object.SetKind(kind)
	return object
}

// made is one of vm-operator's that belongs to an owner.
func (p *provider) made(kind, name string, owner *unstructured.Unstructured, spec map[string]any) *unstructured.Unstructured {
	object := p.empty(kind)
	object.SetName(name)
	object.SetNamespace(p.namespace)
	controls := true
	object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(),
		Name: owner.GetName(), UID: owner.GetUID(), Controller: &controls, BlockOwnerDeletion: &controls}})
	object.Object["spec"] = spec
	return object
}

func (p *provider) owner(kind, name string) *unstructured.Unstructured {
	p.t.Helper()
	owner := &unstructured.Unstructured{}
	owner.SetAPIVersion(infrastructure + "/v1beta1")
	owner.SetKind(kind)
	owner.SetName(name)
	owner.SetNamespace(p.namespace)
	p.create(owner)
	return owner
}

func (p *provider) create(object *unstructured.Unstructured) {
	p.t.Helper()
	if err := p.client.Create(p.t.Context(), object); err != nil {
		p.t.Fatalf("create the %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// cached is a machine as the manager's cache has it, nil where there is none.
func (p *provider) cached(name string) *unstructured.Unstructured {
	vm := p.empty("VirtualMachine")
	err := p.cache.Get(p.t.Context(), client.ObjectKey{Namespace: p.namespace, Name: name}, vm)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		p.t.Errorf("get %s from the cache: %v", name, err)
	}
	return vm
}

// patch writes as the provider does: the difference of two objects, as a merge patch. It returns what it sent.
func (p *provider) patch(vm *unstructured.Unstructured, change func(*unstructured.Unstructured)) string {
	p.t.Helper()
	changed := vm.DeepCopy()
	change(changed)
	patch := client.MergeFrom(vm)
	data, err := patch.Data(changed)
	if err != nil {
		p.t.Fatal(err)
	}
	if string(data) != "{}" {
		if err := p.client.Patch(p.t.Context(), changed, patch); err != nil {
			p.t.Fatalf("patch %s with %s: %v", vm.GetName(), data, err)
		}
	}
	return string(data)
}

func (p *provider) policy() {
	p.create(p.made("VirtualMachineSetResourcePolicy", p.cluster, p.owning, map[string]any{
		"resourcePool": map[string]any{"name": p.cluster}, "folder": p.cluster,
		"clusterModuleGroups": []any{"control-plane-group", p.cluster + "-workers-0"},
	}))
}

// service is the address of the control plane, for which the cluster waits.
func (p *provider) service() {
	p.t.Helper()
	p.create(p.made("VirtualMachineService", p.cluster, p.owning, map[string]any{
		"type":     "LoadBalancer",
		"ports":    []any{map[string]any{"name": "apiserver", "protocol": "TCP", "port": int64(6443), "targetPort": int64(6443)}},
		"selector": map[string]any{clusterNameLabel: p.cluster, clusterRoleLabel: "controlplane"},
	}))
	waittest.Within(p.t, time.Minute, "the control plane has an address", func(ctx context.Context) error {
		service := p.empty("VirtualMachineService")
		if err := p.cache.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: p.cluster}, service); err != nil {
			return err
		}
		ingress, _, err := unstructured.NestedSlice(service.Object, "status", "loadBalancer", "ingress")
		if err == nil && (len(ingress) == 0 || ingress[0].(map[string]any)["ip"] == "") {
			err = fmt.Errorf("status %v", service.Object["status"])
		}
		if owners := service.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != p.owning.GetUID() {
			p.t.Errorf("it is owned by %v", owners)
		}
		return err
	})
}

// machine is what the provider creates.
func (p *provider) machine(name string, owner *unstructured.Unstructured) *unstructured.Unstructured {
	vm := p.made("VirtualMachine", name, owner, map[string]any{
		"className": "best-effort-small", "imageName": "ubuntu-24.04", "storageClass": "bronze-storage",
		"minHardwareVersion": int64(17),
		"reserved":           map[string]any{"resourcePolicyName": p.cluster},
	})
	p.assert(vm)
	return vm
}

// assert sets what the provider asks for at each turn, whatever a machine has by then.
func (p *provider) assert(vm *unstructured.Unstructured) {
	role, tag, group := "node", "WorkerVmVmAATag", p.cluster+"-workers-0"
	if strings.HasSuffix(vm.GetName(), "control-plane") {
		role, tag, group = "controlplane", "CtrlVmVmAATag", "control-plane-group"
	}
	for path, value := range map[string]any{
		"powerState": "PoweredOn", "powerOffMode": "Hard",
		"bootstrap.cloudInit.rawCloudConfig.name": "bootstrap", "bootstrap.cloudInit.rawCloudConfig.key": "user-data",
	} {
		fields := append([]string{"spec"}, strings.Split(path, ".")...)
		if err := unstructured.SetNestedField(vm.Object, value, fields...); err != nil {
			p.t.Fatal(err)
		}
	}
	merged := func(now, wanted map[string]string) map[string]string {
		all := maps.Clone(now)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, wanted)
		return all
	}
	vm.SetLabels(merged(vm.GetLabels(), map[string]string{
		clusterNameLabel: p.cluster, clusterRoleLabel: role, "cluster.x-k8s.io/cluster-name": p.cluster,
		"topology.kubernetes.io/zone": "cluster-a",
	}))
	vm.SetAnnotations(merged(vm.GetAnnotations(),
		map[string]string{"vsphere-tag": tag, "vsphere-cluster-module-group": group}))
}

// comesUp waits as the provider does, in its order. As long as the machine is not created, each of these conditions that
// is False would be an error of the cluster's, so it must have a reason.
func (p *provider) comesUp(name string) {
	p.t.Helper()
	steps := []string{"VirtualMachineCreated", "PoweredOn", "primaryIP4", "biosUUID", "zone and nodeName"}
	waittest.Within(p.t, 2*time.Minute, name+" comes up", func(context.Context) error {
		vm := p.cached(name)
		if vm == nil {
			return fmt.Errorf("it is not in the cache")
		}
		step := p.waitsFor(vm)
		if step == len(steps) {
			return nil
		}
		return fmt.Errorf("it waits for %s: status %v", steps[step], vm.Object["status"])
	})
	vm := p.cached(name)
	found, err := p.inVCenter(name)
	if err != nil {
		p.t.Fatal(err)
	}
	config := p.admin.Properties(found).Config
	if got, _, _ := unstructured.NestedString(vm.Object, "status", "biosUUID"); got != config.Uuid {
		p.t.Errorf("the provider's id of %s would be %q, and the guest sees %q", name, got, config.Uuid)
	}
}

// inVCenter is a machine where its policy has it.
func (p *provider) inVCenter(name string) (*object.VirtualMachine, error) {
	return p.admin.Finder.VirtualMachine(p.t.Context(), supervisortest.InNamespaces(p.namespace, p.cluster, name))
}

func (p *provider) waitsFor(vm *unstructured.Unstructured) int {
	text := func(fields ...string) string {
		found, _, _ := unstructured.NestedString(vm.Object, append([]string{"status"}, fields...)...)
		return found
	}
	host := text("nodeName")
	if p.version == "v1alpha2" {
		host = text("host")
	}
	for step, met := range []bool{
		p.isTrue(vm, "VirtualMachineCreated"), text("powerState") == "PoweredOn", text("network", "primaryIP4") != "",
		text("biosUUID") != "", text("zone") == "cluster-a" && host != "",
	} {
		if !met {
			return step
		}
	}
	return 5
}

func (p *provider) isTrue(vm *unstructured.Unstructured, conditionType string) bool {
	conditions, _, _ := unstructured.NestedSlice(vm.Object, "status", "conditions")
	for _, each := range conditions {
		condition := each.(map[string]any)
		if condition["status"] == "False" && (condition["reason"] == "" || condition["message"] == "") {
			p.t.Errorf("%s is False for no reason: %v", condition["type"], condition)
		}
		if condition["type"] == conditionType {
			return condition["status"] == "True"
		}
	}
	return false
}

// asksForTheSame: the provider asserts its wishes at each turn. Were one of them answered with something else, it would
// write for ever.
func (p *provider) asksForTheSame(name string) {
	p.t.Helper()
	if sent := p.patch(p.cached(name), p.assert); sent != "{}" {
		p.t.Errorf("the next turn would patch %s with %s", name, sent)
	}
}

// inModules: what keeps the machines apart in vCenter are the cluster modules of the policy.
func (p *provider) inModules(names ...string) {
	p.t.Helper()
	for _, name := range names {
		waittest.Within(p.t, time.Minute, name+" is placed as the policy says", func(context.Context) error {
			if vm := p.cached(name); !p.isTrue(vm, "VirtualMachineConditionVMSetResourcePolicyReady") {
				return fmt.Errorf("status %v", vm.Object["status"])
			}
			return nil
		})
	}
}

// keepsRunning: a node that somebody switches off is switched on at the next turn, a probe comes once the control plane is
// initialised, and a finalizer that somebody sets stays.
func (p *provider) keepsRunning(name string) {
	p.t.Helper()
	const finalizer = "vcsim.example.com/guest"
	p.patch(p.cached(name), func(vm *unstructured.Unstructured) {
		vm.SetFinalizers(append(vm.GetFinalizers(), finalizer))
		err := unstructured.SetNestedField(vm.Object, int64(6443), "spec", "readinessProbe", "tcpSocket", "port")
		if err != nil {
			p.t.Fatal(err)
		}
	})
	p.Kubectl(p.t, "patch", "vm", name, "-n", p.namespace, "--type=merge", "-p", `{"spec":{"powerState":"PoweredOff"}}`)
	power := func(want string) {
		p.t.Helper()
		waittest.Within(p.t, time.Minute, name+" is "+want, func(context.Context) error {
			if got, _, _ := unstructured.NestedString(p.cached(name).Object, "status", "powerState"); got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	power("PoweredOff")
	if sent := p.patch(p.cached(name), p.assert); sent != `{"spec":{"powerState":"PoweredOn"}}` {
		p.t.Errorf("to have it on again the provider sent %s", sent)
	}
	power("PoweredOn")
	vm := p.cached(name)
	port, _, _ := unstructured.NestedInt64(vm.Object, "spec", "readinessProbe", "tcpSocket", "port")
	if !slices.Contains(vm.GetFinalizers(), finalizer) || port != 6443 {
		p.t.Errorf("it has the finalizers %v and a probe of port %d", vm.GetFinalizers(), port)
	}
	p.patch(vm, func(vm *unstructured.Unstructured) {
		vm.SetFinalizers(slices.DeleteFunc(vm.GetFinalizers(), func(f string) bool { return f == finalizer }))
	})
}

// losesItsLabel: without the label a machine leaves the provider's cache. It would then create it once more, which must be
// refused as what it is.
func (p *provider) losesItsLabel(name string) {
	p.t.Helper()
	p.Kubectl(p.t, "label", "vm", name, "-n", p.namespace, clusterNameLabel+"-")
	waittest.Eventually(p.t, "it leaves the cache", func() bool { return p.cached(name) == nil })
	again := p.machine(name, p.owning)
	if err := p.client.Create(p.t.Context(), again); !apierrors.IsAlreadyExists(err) {
		p.t.Errorf("created once more: %v", err)
	}
	p.Kubectl(p.t, "label", "vm", name, "-n", p.namespace, clusterNameLabel+"="+p.cluster)
	waittest.Eventually(p.t, "it comes back", func() bool { return p.cached(name) != nil })
}

// deletes asks for the deletion, and looks until there is none, before the owner goes.
func (p *provider) deletes(name string, owner *unstructured.Unstructured) {
	p.t.Helper()
	if err := p.client.Delete(p.t.Context(), p.cached(name)); err != nil {
		p.t.Fatal(err)
	}
	p.gone("VirtualMachine", name)
	waittest.Eventually(p.t, "it leaves the cache", func() bool { return p.cached(name) == nil })
	if err := p.client.Delete(p.t.Context(), owner); err != nil {
		p.t.Error(err)
	}
}

// collected: a machine whose owner is gone is garbage, and goes, from vCenter too.
func (p *provider) collected(name string, owner *unstructured.Unstructured) {
	p.t.Helper()
	if err := p.client.Delete(p.t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		p.t.Fatal(err)
	}
	p.gone("VirtualMachine", name)
	p.gone("VSphereMachine", name)
	if left, err := p.inVCenter(name); err == nil {
		p.t.Errorf("%s is left in vCenter: %v", name, left)
	}
}

func (p *provider) removes(kinds ...string) {
	p.t.Helper()
	for _, kind := range kinds {
		object := p.empty(kind)
		object.SetNamespace(p.namespace)
		object.SetName(p.cluster)
		if err := p.client.Delete(p.t.Context(), object); err != nil {
			p.t.Error(err)
		}
		p.gone(kind, p.cluster)
	}
}

func (p *provider) gone(kind, name string) {
	p.t.Helper()
	object := p.empty(kind)
	if kind == "VSphereMachine" {
		object.SetAPIVersion(infrastructure + "/v1beta1")
	}
	waittest.Within(p.t, 2*time.Minute, "the "+kind+" "+name+" is gone", func(ctx context.Context) error {
		err := p.client.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: name}, object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("there is %v: %v", object.Object["metadata"], err)
	})
}
