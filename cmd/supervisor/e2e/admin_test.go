// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/facts"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
)

const (
	poweredOn  = types.VirtualMachinePowerStatePoweredOn
	poweredOff = types.VirtualMachinePowerStatePoweredOff
)

// admin is a VI admin at the vCenter of a Supervisor: what she does goes by Kubernetes.
type admin struct {
	t       *testing.T
	client  *govmomi.Client
	builder *vcentertest.Builder
	finder  *find.Finder
	cluster string
}

// admin logs in to the vCenter of the Supervisor.
func (s *supervisor) admin(t *testing.T) *admin {
	t.Helper()
	status, err := s.Dir.ReadStatus()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(status.VCenter.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	var account struct{ Username, Password string }
	if err := yaml.Unmarshal(data, &account); err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(status.VCenter.URL)
	if err != nil {
		t.Fatal(err)
	}
	endpoint.Path = vim25.Path
	return newAdmin(t, endpoint, status.VCenter.CAFile, account.Username, account.Password)
}

func newAdmin(t *testing.T, endpoint *url.URL, caFile, username, password string) *admin {
	t.Helper()
	ctx := t.Context()
	wire := soap.NewClient(endpoint, false)
	if err := wire.SetRootCAs(caFile); err != nil {
		t.Fatal(err)
	}
	vim, err := vim25.NewClient(ctx, wire)
	if err != nil {
		t.Fatal(err)
	}
	client := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	if err := client.Login(ctx, url.UserPassword(username, password)); err != nil {
		t.Fatal(err)
	}
	a := &admin{t: t, client: client, builder: &vcentertest.Builder{Client: client}, finder: find.NewFinder(vim, false)}
	if err := a.builder.In(ctx, "DC0"); err != nil {
		t.Fatal(err)
	}
	datacenter, err := a.finder.Datacenter(ctx, "DC0")
	if err != nil {
		t.Fatal(err)
	}
	a.finder.SetDatacenter(datacenter)
	a.cluster = "cluster-a"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Logout(ctx)
	})
	return a
}

func inNamespaces(elements ...string) string {
	return path.Join(append([]string{"Namespaces"}, elements...)...)
}

// folder makes a folder in the namespaces folder, which is a namespace.
func (a *admin) folder(name string) {
	a.t.Helper()
	if err := a.builder.Folder(a.t.Context(), inNamespaces(name)); err != nil {
		a.t.Fatal(err)
	}
}

// namespace makes a folder and waits for its Namespace.
func (a *admin) namespace(s *supervisor, name string) string {
	a.t.Helper()
	a.folder(name)
	client := kubernetes.NewForConfigOrDie(s.config(a.t))
	eventually(a.t, 20*time.Second, "Namespace "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return name
}

// create makes a machine in a namespace.
func (a *admin) create(namespace, name string, power types.VirtualMachinePowerState, extra ...types.OptionValue) *object.VirtualMachine {
	a.t.Helper()
	vm := vcentertest.VM{
		Name: name, Folder: inNamespaces(namespace), Cluster: a.cluster, GuestID: "ubuntu64Guest", CPUs: 2, MemoryMB: 4096,
		Networks: []string{"VM Network"}, Power: power, ExtraConfig: map[string]string{},
	}
	if power == poweredOn {
		vm.IPs = []string{"10.30.0.11"}
	}
	for _, option := range extra {
		vm.ExtraConfig[option.Key] = fmt.Sprint(option.Value)
	}
	made, err := a.builder.VirtualMachine(a.t.Context(), vm)
	if err != nil {
		a.t.Fatal(err)
	}
	return made
}

// done waits for the end of a task.
func (a *admin) done(task *object.Task, err error) {
	a.t.Helper()
	if err == nil {
		err = task.WaitEx(a.t.Context())
	}
	if err != nil {
		a.t.Fatalf("VI admin: %v", err)
	}
}

// own is the machine under this login, which another one may have named.
func (a *admin) own(vm *object.VirtualMachine) *object.VirtualMachine {
	return object.NewVirtualMachine(a.client.Client, vm.Reference())
}

func (a *admin) power(vm *object.VirtualMachine, state types.VirtualMachinePowerState) {
	a.t.Helper()
	if state == poweredOn {
		a.done(a.own(vm).PowerOn(a.t.Context()))
	} else {
		a.done(a.own(vm).PowerOff(a.t.Context()))
	}
}

func (a *admin) rename(vm *object.VirtualMachine, name string) {
	a.t.Helper()
	a.done(a.own(vm).Rename(a.t.Context(), name))
}

func (a *admin) destroy(vm *object.VirtualMachine) {
	a.t.Helper()
	a.done(a.own(vm).Destroy(a.t.Context()))
}

func (a *admin) move(vm *object.VirtualMachine, namespace string) {
	a.t.Helper()
	folder, err := a.finder.Folder(a.t.Context(), "/DC0/vm/"+inNamespaces(namespace))
	if err != nil {
		a.t.Fatal(err)
	}
	a.done(folder.MoveInto(a.t.Context(), []types.ManagedObjectReference{vm.Reference()}))
}

func (a *admin) reconfigure(vm *object.VirtualMachine, spec types.VirtualMachineConfigSpec) {
	a.t.Helper()
	a.done(a.own(vm).Reconfigure(a.t.Context(), spec))
}

// properties reads a machine, nil when it is gone.
func (a *admin) properties(vm *object.VirtualMachine) *mo.VirtualMachine {
	a.t.Helper()
	var props mo.VirtualMachine
	if err := a.own(vm).Properties(a.t.Context(), vm.Reference(), []string{"name", "config", "runtime.powerState", "parent"}, &props); err != nil {
		return nil
	}
	return &props
}

// extra is a value of a machine's ExtraConfig.
func (a *admin) extra(vm *object.VirtualMachine, key string) string {
	a.t.Helper()
	props := a.properties(vm)
	if props == nil {
		a.t.Fatal("the virtual machine is gone from vCenter")
	}
	for _, option := range props.Config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == key {
			return fmt.Sprint(value.Value)
		}
	}
	return ""
}

// createAsPacific makes a machine with a record of metadata as one has that Pacific made, so that it may be destroyed.
func (a *admin) createAsPacific(namespace, name string, labels map[string]string) (*object.VirtualMachine, error) {
	id := uuid.NewString()
	record, err := (&virtualmachine.Metadata{
		Head: facts.Head{UID: id, Sequence: 1, Created: true, Namespace: namespace, Name: name},
		Body: virtualmachine.Body{Generation: 1, Labels: labels},
	}).Encode()
	if err != nil {
		return nil, err
	}
	return a.builder.VirtualMachine(a.t.Context(), vcentertest.VM{
		Name: name, Folder: inNamespaces(namespace), Cluster: a.cluster, GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024, InstanceUUID: id,
		ExtraConfig: map[string]string{vcmachine.RecordKey: record, vcmachine.NamespacedNameKey: namespace + "/" + name},
	})
}
