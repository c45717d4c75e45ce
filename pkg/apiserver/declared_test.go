// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vmprojection "github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const annotationOfApply = "kubectl.kubernetes.io/last-applied-configuration"

// verbs are the ways to ask that a machine be on, and whether that counts as
// declared of a machine that is on, and of one that is off. docs/compatibility.md
// has the same table.
var verbs = []struct {
	name, version, query, method, contentType string
	body                                      func(m *vmopv1.VirtualMachine) string
	on, off                                   bool
}{
	{name: "merge patch", method: "PATCH", contentType: "application/merge-patch+json",
		body: text(`{"spec":{"powerState":"PoweredOn"}}`), on: true, off: true},
	{name: "merge patch at v1alpha1", version: "v1alpha1", method: "PATCH", contentType: "application/merge-patch+json",
		body: text(`{"spec":{"powerState":"poweredOn"}}`), on: true, off: true},
	{name: "merge patch as a dry run", query: "?dryRun=All", method: "PATCH", contentType: "application/merge-patch+json",
		body: text(`{"spec":{"powerState":"PoweredOn"}}`)},
	{name: "strategic merge patch", method: "PATCH", contentType: "application/strategic-merge-patch+json",
		body: text(`{"spec":{"powerState":"PoweredOn"}}`), on: true, off: true},
	{name: "JSON patch", method: "PATCH", contentType: "application/json-patch+json",
		body: text(`[{"op":"replace","path":"/spec/powerState","value":"PoweredOn"}]`), on: true, off: true},
	{name: "JSON patch that tests", method: "PATCH", contentType: "application/json-patch+json",
		body: func(m *vmopv1.VirtualMachine) string {
			return fmt.Sprintf(`[{"op":"test","path":"/spec/powerState","value":%q},{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`, m.Spec.PowerState)
		}},
	{name: "patch of something else", method: "PATCH", contentType: "application/merge-patch+json",
		body: text(`{"metadata":{"labels":{"a":"b"}}}`)},
	{name: "client-side apply", method: "PATCH", contentType: "application/merge-patch+json", body: clientSideApply,
		on: true, off: true},
	{name: "server-side apply", query: "?fieldManager=me", method: "PATCH", contentType: "application/apply-patch+yaml",
		body: func(m *vmopv1.VirtualMachine) string {
			return `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"` + m.Name +
				`"},"spec":{"powerState":"PoweredOn"}}`
		}, on: true, off: true},
	{name: "PUT", method: "PUT", contentType: "application/json", body: func(m *vmopv1.VirtualMachine) string {
		return `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"` + m.Name +
			`","labels":{"a":"b"}},"spec":{"powerState":"PoweredOn","guestID":"` + m.Spec.GuestID + `"}}`
	}, on: false, off: true},
	{name: "update of what was read", method: "PUT", contentType: "application/json",
		body: func(m *vmopv1.VirtualMachine) string {
			m = m.DeepCopy()
			m.Annotations = map[string]string{"a": "b"}
			m.Spec.PowerState = vmopv1.VirtualMachinePowerStateOn
			m.APIVersion, m.Kind = "vmoperator.vmware.com/v1alpha5", "VirtualMachine"
			return encoded(m)
		}, on: false, off: true},
}

func text(body string) func(*vmopv1.VirtualMachine) string {
	return func(*vmopv1.VirtualMachine) string { return body }
}

// clientSideApply is what kubectl sends of a manifest: the manifest in an
// annotation, and what differs from it.
func clientSideApply(m *vmopv1.VirtualMachine) string {
	manifest := `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"` + m.Name +
		`"},"spec":{"powerState":"PoweredOn"}}`
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationOfApply: manifest}}}
	if m.Spec.PowerState != vmopv1.VirtualMachinePowerStateOn {
		patch["spec"] = map[string]any{"powerState": "PoweredOn"}
	}
	return encoded(patch)
}

func encoded(object any) string {
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// One manifest has one meaning: what somebody asked for is declared, in whichever
// way they did, and what they did not ask for follows vCenter. After each request
// the VI admin turns the machine off: one that is declared to be on goes on being
// shown so.
func TestDeclaredIsWhatWasAskedFor(t *testing.T) {
	var machines []vcentertest.VM
	for i := range verbs {
		for _, power := range []types.VirtualMachinePowerState{types.VirtualMachinePowerStatePoweredOn,
			types.VirtualMachinePowerStatePoweredOff} {
			machines = append(machines, vcentertest.VM{
				Name: machineFor(i, power), Folder: "Namespaces/team-a", Cluster: "cluster-a", GuestID: "ubuntu64Guest", CPUs: 1,
				MemoryMB: 1024, Power: power,
			})
		}
	}
	w := newMachineWorld(t, machines)
	for i, verb := range verbs {
		for power, want := range map[types.VirtualMachinePowerState]bool{
			types.VirtualMachinePowerStatePoweredOn: verb.on, types.VirtualMachinePowerStatePoweredOff: verb.off,
		} {
			t.Run(fmt.Sprintf("%s, machine %s", verb.name, power), func(t *testing.T) {
				name := machineFor(i, power)
				version := verb.version
				if version == "" {
					version = "v1alpha5"
				}
				ask := func() string {
					got := w.do(verb.method, version, name+verb.query, verb.contentType, verb.body(w.get(t, name)))
					if got.Code != http.StatusOK || got.Header.Get("Warning") != "" {
						t.Fatalf("%d, warning %q: %s", got.Code, got.Header.Get("Warning"), got.Body)
					}
					return w.get(t, name).ResourceVersion
				}
				if once, twice := ask(), ask(); once != twice {
					t.Errorf("asking a second time for the same is a change: version %s and then %s", once, twice)
				}
				if power == types.VirtualMachinePowerStatePoweredOn {
					w.powerOff(t, name)
				}
				shown := w.get(t, name)
				if declared := shown.Spec.PowerState == vmopv1.VirtualMachinePowerStateOn; declared != want {
					t.Errorf("the machine is off, and its declared power state is shown as %s; is it declared? want %t",
						shown.Spec.PowerState, want)
				}
				if verb.query == "?dryRun=All" && shown.ManagedFields != nil {
					t.Errorf("a dry run left managedFields: %v", shown.ManagedFields)
				}
			})
		}
	}
}

func machineFor(verb int, power types.VirtualMachinePowerState) string {
	return strings.ToLower(fmt.Sprintf("vm-%02d-%s", verb, power))
}

// Who asked for a value that a machine has can let go of it again.
func TestWhatWasAskedForCanBeLetGo(t *testing.T) {
	w := newMachineWorld(t, nil)
	for _, patch := range []string{`{"spec":{"powerState":"PoweredOn"}}`, `{"spec":{"powerState":null}}`} {
		if got := w.do("PATCH", "v1alpha5", "web-1", "application/merge-patch+json", patch); got.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", patch, got.Code, got.Body)
		}
	}
	w.powerOff(t, "web-1")
	if shown := w.get(t, "web-1"); shown.Spec.PowerState != vmopv1.VirtualMachinePowerStateOff {
		t.Errorf("the power state that nobody declares any more is shown as %s, want PoweredOff", shown.Spec.PowerState)
	}
}

// machineWorld is a vCenter and the API of its machines, without controllers.
type machineWorld struct {
	server *kindtest.Server
	finder *find.Finder
}

func newMachineWorld(t *testing.T, machines []vcentertest.VM) *machineWorld {
	t.Helper()
	simulated := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context,
		b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		for _, machine := range machines {
			if _, err := b.VirtualMachine(ctx, machine); err != nil {
				return err
			}
		}
		return nil
	}})
	session, err := vcenter.NewSession(vcenter.Config{
		URL: simulated.URL(), CredentialsFile: simulated.CredentialsFile(t), CAFile: simulated.CAFile(t),
		Logger: klog.Background(),
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := vcmachine.NewKeys([]byte("one of the tests"))
	projector := vmprojection.NewProjector(vmprojection.Config{Logger: klog.Background()})
	collector := &inventory.Collector{
		Session: session, Handler: &picture.Picture{Followers: []facts.Follower{projector}}, Kinds: picture.Kinds(keys),
		Logger: klog.Background(),
	}
	writer := &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
	backend := &vmprojection.Backend{
		Verbs: &vcmachine.Verbs{Writer: writer, Keys: keys, Root: projector.NamespacesFolder}, Ready: writer.Ready,
		Projector: projector, Refresher: refresher{collector}, Logger: klog.Background(),
	}
	client, err := simulated.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = session.Run(ctx) })
	running.Go(func() { _ = collector.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &machineWorld{server: serveMachines(t, backend, projector), finder: find.NewFinder(client.Client)}
}

// serveMachines serves the machines of a projection, as Run does.
func serveMachines(t *testing.T, backend *vmprojection.Backend, projector *vmprojection.Projector) *kindtest.Server {
	t.Helper()
	kindtest.UseLiveStores()
	frame := newFrame(nil, nil, nil)
	frame.Sequence.Begin(uint64(time.Now().Unix()))
	machines, err := registry.ServeLive(frame,
		virtualmachine.Kind(virtualmachine.Surroundings{Origins: projector, Clock: frame.Clock}), backend)
	if err != nil {
		t.Fatal(err)
	}
	machines.Project(projector.Machines())
	return kindtest.Serve(t, frame, machines)
}

func (w *machineWorld) do(method, version, rest, contentType, body string) kindtest.Answer {
	return w.server.Do(method, "/apis/vmoperator.vmware.com/"+version+"/namespaces/team-a/virtualmachines/"+rest, body,
		"Content-Type", contentType)
}

func (w *machineWorld) get(t *testing.T, name string) *vmopv1.VirtualMachine {
	t.Helper()
	got := w.do("GET", "v1alpha5", name, "", "")
	machine := &vmopv1.VirtualMachine{}
	if err := json.Unmarshal(got.Body, machine); err != nil || got.Code != http.StatusOK {
		t.Fatalf("get %s: %d %s (%v)", name, got.Code, got.Body, err)
	}
	machine.TypeMeta = metav1.TypeMeta{}
	return machine
}

// powerOff is what a VI admin does in the vSphere Client.
func (w *machineWorld) powerOff(t *testing.T, name string) {
	t.Helper()
	machine, err := w.finder.VirtualMachine(t.Context(), "/DC0/vm/Namespaces/team-a/"+name)
	if err != nil {
		t.Fatal(err)
	}
	var task *object.Task
	if task, err = machine.PowerOff(t.Context()); err == nil {
		err = task.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, name+" is shown to be off", func() bool {
		return w.get(t, name).Status.PowerState == vmopv1.VirtualMachinePowerStateOff
	})
}
