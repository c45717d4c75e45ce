// SPDX-License-Identifier: Apache-2.0

package supervisortest

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
	"github.com/vmware/govmomi/fault"
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
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// States of a machine, as vCenter names them.
const (
	PoweredOn  = types.VirtualMachinePowerStatePoweredOn
	PoweredOff = types.VirtualMachinePowerStatePoweredOff
)

// Admin is a VI admin at the vCenter of a Supervisor: what she does goes by Kubernetes.
type Admin struct {
	Client  *govmomi.Client
	Builder *vcentertest.Builder
	Finder  *find.Finder
	Cluster string // in which machines are made

	t          *testing.T
	supervisor *Supervisor
}

// Admin logs in to the vCenter of the Supervisor.
func (s *Supervisor) Admin(t *testing.T) *Admin {
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
	a := newAdmin(t, endpoint, status.VCenter.CAFile, url.UserPassword(account.Username, account.Password))
	a.supervisor = s
	return a
}

func newAdmin(t *testing.T, endpoint *url.URL, caFile string, account *url.Userinfo) *Admin {
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
	if err := client.Login(ctx, account); err != nil {
		t.Fatal(err)
	}
	a := &Admin{t: t, Client: client, Builder: &vcentertest.Builder{Client: client, User: account},
		Finder: find.NewFinder(vim, false), Cluster: "cluster-a"}
	if err := a.Builder.In(ctx, "DC0"); err != nil {
		t.Fatal(err)
	}
	datacenter, err := a.Finder.Datacenter(ctx, "DC0")
	if err != nil {
		t.Fatal(err)
	}
	a.Finder.SetDatacenter(datacenter)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Logout(ctx)
	})
	return a
}

// InNamespaces is the path of a folder below the one that holds the namespaces.
func InNamespaces(elements ...string) string {
	return path.Join(append([]string{"Namespaces"}, elements...)...)
}

// Folder makes a folder in the namespaces folder, which is a namespace.
func (a *Admin) Folder(name string) {
	a.t.Helper()
	if err := a.Builder.Folder(a.t.Context(), InNamespaces(name)); err != nil {
		a.t.Fatal(err)
	}
}

// Namespace makes a folder and waits for its Namespace.
func (a *Admin) Namespace(name string) string {
	a.t.Helper()
	a.Folder(name)
	client := kubernetes.NewForConfigOrDie(a.supervisor.Config(a.t))
	waittest.Within(a.t, 20*time.Second, "Namespace "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return name
}

// Create makes a machine in a namespace.
func (a *Admin) Create(namespace, name string, power types.VirtualMachinePowerState,
	extra ...types.OptionValue) *object.VirtualMachine {
	a.t.Helper()
	vm := vcentertest.VM{
		Name: name, Folder: InNamespaces(namespace), Cluster: a.Cluster, GuestID: "ubuntu64Guest", CPUs: 2, MemoryMB: 4096,
		Networks: []string{"VM Network"}, Power: power, ExtraConfig: map[string]string{},
	}
	if power == PoweredOn {
		vm.IPs = []string{"10.30.0.11"}
	}
	for _, option := range extra {
		vm.ExtraConfig[option.Key] = fmt.Sprint(option.Value)
	}
	made, err := a.Builder.VirtualMachine(a.t.Context(), vm)
	if err != nil {
		a.t.Fatal(err)
	}
	return made
}

// Done waits for the end of a task.
func (a *Admin) Done(task *object.Task, err error) {
	a.t.Helper()
	if err == nil {
		err = task.WaitEx(a.t.Context())
	}
	if err != nil {
		a.t.Fatalf("VI admin: %v", err)
	}
}

// does is Done for an act on a machine, which she repeats while vCenter says that another task is at work on it.
func (a *Admin) does(act func(context.Context) (*object.Task, error)) {
	a.t.Helper()
	waittest.Within(a.t, time.Minute, "what the VI admin does", func(context.Context) error {
		task, err := act(a.t.Context())
		if err == nil {
			err = task.WaitEx(a.t.Context())
		}
		if err != nil && !fault.Is(err, &types.TaskInProgress{}) {
			a.t.Fatalf("VI admin: %v", err)
		}
		return err
	})
}

// Own is the machine under this login, which another one may have named.
func (a *Admin) Own(vm *object.VirtualMachine) *object.VirtualMachine {
	return object.NewVirtualMachine(a.Client.Client, vm.Reference())
}

// Power switches a machine on or off.
func (a *Admin) Power(vm *object.VirtualMachine, state types.VirtualMachinePowerState) {
	a.t.Helper()
	if state == PoweredOn {
		a.does(a.Own(vm).PowerOn)
	} else {
		a.does(a.Own(vm).PowerOff)
	}
}

// Rename renames a machine.
func (a *Admin) Rename(vm *object.VirtualMachine, name string) {
	a.t.Helper()
	a.does(func(ctx context.Context) (*object.Task, error) { return a.Own(vm).Rename(ctx, name) })
}

// Destroy deletes a machine from disk.
func (a *Admin) Destroy(vm *object.VirtualMachine) {
	a.t.Helper()
	a.does(a.Own(vm).Destroy)
}

// Move moves a machine to the folder of another namespace.
func (a *Admin) Move(vm *object.VirtualMachine, namespace string) {
	a.t.Helper()
	folder, err := a.Finder.Folder(a.t.Context(), "/DC0/vm/"+InNamespaces(namespace))
	if err != nil {
		a.t.Fatal(err)
	}
	a.Done(folder.MoveInto(a.t.Context(), []types.ManagedObjectReference{vm.Reference()}))
}

// FolderID is the id of the folder of a namespace, by which a Kubernetes Namespace claims it.
func (a *Admin) FolderID(namespace string) string {
	a.t.Helper()
	folder, err := a.Finder.Folder(a.t.Context(), "/DC0/vm/"+InNamespaces(namespace))
	if err != nil {
		a.t.Fatal(err)
	}
	ref := folder.Reference()
	return facts.ID{VCenter: folder.Client().ServiceContent.About.InstanceUuid, Type: ref.Type, Value: ref.Value}.String()
}

// RenameFolder gives the folder of a namespace another name.
func (a *Admin) RenameFolder(namespace, name string) {
	a.t.Helper()
	folder, err := a.Finder.Folder(a.t.Context(), "/DC0/vm/"+InNamespaces(namespace))
	if err != nil {
		a.t.Fatal(err)
	}
	a.Done(folder.Rename(a.t.Context(), name))
}

// Reconfigure edits the settings of a machine.
func (a *Admin) Reconfigure(vm *object.VirtualMachine, spec types.VirtualMachineConfigSpec) {
	a.t.Helper()
	a.does(func(ctx context.Context) (*object.Task, error) { return a.Own(vm).Reconfigure(ctx, spec) })
}

// Properties reads a machine, nil when it is gone.
func (a *Admin) Properties(vm *object.VirtualMachine) *mo.VirtualMachine {
	a.t.Helper()
	var props mo.VirtualMachine
	if err := a.Own(vm).Properties(a.t.Context(), vm.Reference(),
		[]string{"name", "config", "runtime.powerState", "parent"}, &props); err != nil {
		return nil
	}
	return &props
}

// Extra is a value of a machine's ExtraConfig.
func (a *Admin) Extra(vm *object.VirtualMachine, key string) string {
	a.t.Helper()
	props := a.Properties(vm)
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

// CreateAsPacific makes a machine with a record of metadata as one has that Pacific made, so that it may be destroyed.
func (a *Admin) CreateAsPacific(namespace, name string, labels map[string]string) (*object.VirtualMachine, error) {
	ctx := a.t.Context()
	folder, err := a.Finder.Folder(ctx, "/DC0/vm/"+InNamespaces(namespace))
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	extra, err := Record(a.supervisor.RecordKeys(a.t), facts.Head{
		Installation: a.supervisor.Installation(a.t), UID: id, Sequence: 1, Created: true, Namespace: namespace, Name: name,
		Folder: facts.ID{VCenter: a.Client.ServiceContent.About.InstanceUuid, Type: facts.TypeFolder,
			Value: folder.Reference().Value},
	}, labels)
	if err != nil {
		return nil, err
	}
	return a.Builder.VirtualMachine(ctx, vcentertest.VM{
		Name: name, Folder: InNamespaces(namespace), Cluster: a.Cluster, GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024,
		InstanceUUID: id,
		ExtraConfig:  extra,
	})
}

// Record is the extraConfig of a machine that somebody's Pacific has written a record for, which has those keys.
func Record(keys *vcmachine.Keys, head facts.Head, labels map[string]string) (map[string]string, error) {
	head, body, err := (&projection.Metadata{Head: head, Body: projection.Body{Generation: 1, Labels: labels}}).Record()
	if err != nil {
		return nil, err
	}
	record, err := keys.Encode(head, body)
	if err != nil {
		return nil, err
	}
	return map[string]string{facts.RecordKey: record, vcmachine.NamespacedNameKey: head.Namespace + "/" + head.Name}, nil
}
