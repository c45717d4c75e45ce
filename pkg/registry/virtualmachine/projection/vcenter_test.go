// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// keys are those of the tests.
func keys() *machine.Keys { return machine.NewKeys([]byte("one of the tests")) }

const (
	patience = 20 * time.Second
	// here is the installation that serves.
	here = "here"
)

// server is everything between vCenter and the registry.
type server struct {
	t         *testing.T
	session   *vcenter.Session
	writer    *counting
	projector *projection.Projector
	picture   *picture.Picture
	verbs     *machine.Verbs
	store     *livestore.Store
	backend   *projection.Backend
	stop      func()
	freeze    func() // the inventory follows vCenter no longer
}

// counting is a writer that counts the tasks which it starts.
type counting struct {
	*vcenter.Writer
	mu    sync.Mutex
	tasks int
}

func (c *counting) RunTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	c.mu.Lock()
	c.tasks++
	c.mu.Unlock()
	return c.Writer.RunTask(ctx, operation, start)
}

func (c *counting) started() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tasks
}

func serve(t *testing.T, v *vcentertest.VCenter) *server {
	t.Helper()
	return serveWith(t, v, nil)
}

// serveWith is serve by a process that remembers what those before it did.
func serveWith(t *testing.T, v *vcentertest.VCenter, memory projection.Memory) *server {
	t.Helper()
	session, err := vcenter.NewSession(vcenter.Config{URL: v.URL(), CredentialsFile: v.CredentialsFile(t),
		CAFile: v.CAFile(t), Logger: klog.Background()})
	if err != nil {
		t.Fatal(err)
	}
	writer := &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
	s := &server{t: t, session: session, writer: &counting{Writer: writer}}
	s.projector = projection.NewProjector(projection.Config{Installation: here, Logger: klog.Background(), Memory: memory})
	s.picture = &picture.Picture{Followers: []facts.Follower{s.projector}, Keys: keys()}
	collector := &inventory.Collector{
		Session: session, Handler: s.picture, Logger: klog.Background(), Kinds: picture.Kinds(keys()),
	}
	s.verbs = &machine.Verbs{Writer: s.writer, Keys: keys(), Root: s.projector.NamespacesFolder}
	s.backend = &projection.Backend{Verbs: s.verbs, Ready: writer.Ready, Projector: s.projector,
		Refresher: refresher{collector}, Logger: klog.Background()}
	scheme := runtime.NewScheme()
	if err := vmopv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	scheme.AddKnownTypes(schema.GroupVersion{Group: vmopv1.GroupVersion.Group, Version: runtime.APIVersionInternal},
		&vmopv1.VirtualMachine{}, &vmopv1.VirtualMachineList{})
	s.store, err = livestore.New(livestore.Config{
		GroupResource:  schema.GroupResource{Group: vmopv1.GroupVersion.Group, Resource: "virtualmachines"},
		Codec:          serializer.NewCodecFactory(scheme).LegacyCodec(vmopv1.GroupVersion),
		NewFunc:        func() runtime.Object { return &vmopv1.VirtualMachine{} },
		NewListFunc:    func() runtime.Object { return &vmopv1.VirtualMachineList{} },
		ResourcePrefix: "/virtualmachines",
		Backend:        registry.Written(s.backend),
		Sequence:       livestore.NewSequence(uint64(time.Now().Unix())),
		IsConflict:     func(err error) bool { return errors.Is(err, failure.Conflict) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.projector.Machines().Attach(registry.Into[vmopv1.VirtualMachine]{Mirror: s.store, Prefix: "/virtualmachines"})

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = session.Run(ctx) })
	followed, freeze := context.WithCancel(ctx)
	frozen := make(chan struct{})
	running.Go(func() {
		_ = collector.Run(followed)
		close(frozen)
	})
	s.freeze = func() {
		freeze()
		<-frozen
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(s.stop)
	s.until("the inventory is there", s.store.Ready)
	return s
}

func (s *server) until(what string, done func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in time: %s; there is %v", what, s.keys())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *server) list() map[string]*vmopv1.VirtualMachine {
	s.t.Helper()
	list := &vmopv1.VirtualMachineList{}
	err := s.store.GetList(s.t.Context(), "/virtualmachines",
		storage.ListOptions{Recursive: true, Predicate: storage.Everything}, list)
	if err != nil {
		s.t.Fatal(err)
	}
	m := map[string]*vmopv1.VirtualMachine{}
	for i := range list.Items {
		m[list.Items[i].NamespacedName()] = &list.Items[i]
	}
	return m
}

func (s *server) keys() []string { return slices.Sorted(maps.Keys(s.list())) }

func (s *server) get(name string) *vmopv1.VirtualMachine {
	s.t.Helper()
	vm := s.list()[name]
	if vm == nil {
		s.t.Fatalf("no %s; there is %v", name, s.keys())
	}
	return vm
}

func (s *server) update(name string, change func(*vmopv1.VirtualMachine)) (*vmopv1.VirtualMachine, error) {
	out := &vmopv1.VirtualMachine{}
	err := s.store.GuaranteedUpdate(s.t.Context(), "/virtualmachines/"+name, out, false, nil,
		storage.SimpleUpdate(func(o runtime.Object) (runtime.Object, error) {
			change(o.(*vmopv1.VirtualMachine))
			return o, nil
		}), nil)
	return out, err
}

func (s *server) label(name, key, value string) *vmopv1.VirtualMachine {
	s.t.Helper()
	vm, err := s.update(name, func(vm *vmopv1.VirtualMachine) { metav1.SetMetaDataLabel(&vm.ObjectMeta, key, value) })
	if err != nil {
		s.t.Fatalf("label %s: %v", name, err)
	}
	return vm
}

// admin does what somebody does in the vSphere Client.
type admin struct {
	t *testing.T
	b *vcentertest.Builder
}

func newAdmin(t *testing.T, v *vcentertest.VCenter) *admin {
	t.Helper()
	b, err := v.Builder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return &admin{t: t, b: b}
}

func (a *admin) vm(path string) *object.VirtualMachine {
	a.t.Helper()
	vm, err := find.NewFinder(a.b.Client.Client).VirtualMachine(a.t.Context(), "/DC0/vm/Namespaces/"+path)
	if err != nil {
		a.t.Fatal(err)
	}
	return vm
}

func (a *admin) folder(path string) *object.Folder {
	a.t.Helper()
	f, err := find.NewFinder(a.b.Client.Client).Folder(a.t.Context(), "/DC0/vm/Namespaces/"+path)
	if err != nil {
		a.t.Fatal(err)
	}
	return f
}

// id names an object as Pacific's records do.
func (a *admin) id(ref types.ManagedObjectReference) facts.ID {
	return facts.ID{VCenter: a.b.Client.ServiceContent.About.InstanceUuid, Type: ref.Type, Value: ref.Value}
}

func (a *admin) do(task *object.Task, err error) {
	a.t.Helper()
	if err == nil {
		err = task.Wait(a.t.Context())
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *admin) option(vm *object.VirtualMachine, key string) string {
	a.t.Helper()
	var o mo.VirtualMachine
	if err := property.DefaultCollector(a.b.Client.Client).RetrieveOne(a.t.Context(), vm.Reference(),
		[]string{"config.extraConfig"}, &o); err != nil {
		a.t.Fatal(err)
	}
	value, _ := object.OptionValueList(o.Config.ExtraConfig).GetString(key)
	return value
}

func (a *admin) setOption(vm *object.VirtualMachine, key, value string) {
	a.t.Helper()
	a.do(vm.Reconfigure(a.t.Context(), types.VirtualMachineConfigSpec{
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}}}))
}

func condition(vm *vmopv1.VirtualMachine, conditionType string) string {
	for _, c := range vm.Status.Conditions {
		if c.Type == conditionType {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

func TestEveryPathIsAnswered(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	if diff := cmp.Diff([]string{"team-a/db-1", "team-a/web-1", "team-b/cache-1"}, s.keys()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	vm := s.get("team-a/web-1")
	st := vm.Status
	for what, ok := range map[string]bool{
		"creationTimestamp": !vm.CreationTimestamp.IsZero(),
		"uid":               string(vm.UID) == st.InstanceUUID && vm.UID != "",
		"bios uuid":         st.BiosUUID != "",
		"power":             st.PowerState == vmopv1.VirtualMachinePowerStateOn && vm.Spec.PowerState == st.PowerState,
		"node":              st.NodeName == "esx-a1.lab.pacific.test",
		"zone":              st.Zone == "cluster-a" && vm.Labels[projection.ZoneLabel] == "cluster-a",
		"ip":                st.Network != nil && st.Network.PrimaryIP4 == "10.20.0.11" && len(st.Network.Interfaces) == 1,
		"guest":             st.Guest != nil && st.Guest.GuestID == "ubuntu64Guest" && st.Guest.GuestFullName != "",
		"hardware": st.Hardware != nil && st.Hardware.CPU.Total == 2 && st.Hardware.Memory.Total.String() == "4Gi" &&
			len(st.Hardware.Controllers) > 0,
		"hardware version": st.HardwareVersion > 0,
		"volumes":          len(st.Volumes) == 1 && st.Volumes[0].Limit.String() == "20Gi" && st.Volumes[0].DiskUUID != "",
		"storage":          st.Storage != nil && st.Storage.Requested.Disks.String() == "20Gi" && st.Storage.Total != nil,
		"tools":            condition(vm, vmopv1.VirtualMachineToolsCondition) == "True VirtualMachineToolsRunning",
		"created":          condition(vm, vmopv1.VirtualMachineConditionCreated) == "True True",
		"change version":   state(t, s, "team-a/web-1").ChangeVersion != "",
	} {
		if !ok {
			t.Errorf("%s is missing or wrong in %+v", what, vm)
		}
	}
}

func state(t *testing.T, s *server, name string) projection.State {
	t.Helper()
	namespace, rest, _ := strings.Cut(name, "/")
	st, found := s.projector.Find(namespace, rest)
	if !found {
		t.Fatalf("the projector does not know %s", name)
	}
	return st
}

func TestWritesLiveInVCenter(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	uid := s.get("team-a/web-1").UID
	out, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
		vm.Labels["app"] = "web"
		vm.Annotations = map[string]string{"note": "x"}
		vm.Finalizers = append(vm.Finalizers, "example.com/hold")
		vm.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "1"}}
		vm.Spec.PowerState = vmopv1.VirtualMachinePowerStateOff
		vm.Generation++
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Labels["app"] != "web" || out.Labels[projection.ZoneLabel] != "cluster-a" ||
		out.Spec.PowerState != "PoweredOff" || out.Status.PowerState != "PoweredOn" {
		t.Errorf("the write's own answer: labels %v, spec %v, status %v", out.Labels, out.Spec.PowerState,
			out.Status.PowerState)
	}
	if got := a.option(a.vm("team-a/web-1"), machine.NamespacedNameKey); got != "team-a/web-1" {
		t.Errorf("%s = %q", machine.NamespacedNameKey, got)
	}
	record := keys().Decode(a.option(a.vm("team-a/web-1"), facts.RecordKey))
	if record.Err != nil || record.Unproven != "" {
		t.Fatal(record.Err, record.Unproven)
	}
	meta, err := projection.Decode(record.Head, record.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := &projection.Metadata{
		Head: facts.Head{Installation: here, UID: string(uid), Sequence: 1, Namespace: "team-a", Name: "web-1",
			Folder: a.id(a.folder("team-a").Reference())},
		Body: projection.Body{Generation: 2,
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": "x"},
			Finalizers:      []string{"example.com/hold"},
			OwnerReferences: out.OwnerReferences, Spec: vmopv1.VirtualMachineSpec{PowerState: "PoweredOff"}}}
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}

	// A write that changes nothing, and one that only takes away what is always there, start no task.
	before := s.writer.started()
	s.label("team-a/web-1", "app", "web")
	if _, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
		vm.Finalizers = []string{"example.com/hold"}
	}); err != nil {
		t.Error(err)
	}
	if got := s.writer.started(); got != before {
		t.Errorf("%d tasks for writes that change nothing", got-before)
	}

	// Everything of ours is lost; the machine has kept it. It is renamed in vCenter meanwhile, which does not matter to
	// one with metadata.
	s.stop()
	a.do(a.vm("team-a/web-1").Rename(t.Context(), "Some other name"))
	again := serve(t, v)
	got := again.get("team-a/web-1")
	got.ResourceVersion, out.ResourceVersion = "", ""
	for i := range got.Status.Conditions {
		got.Status.Conditions[i].LastTransitionTime = out.Status.Conditions[i].LastTransitionTime
	}
	if diff := cmp.Diff(out, got); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	// An emptied field reads live again.
	if out, err = again.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) { vm.Spec.PowerState = "" }); err != nil ||
		out.Spec.PowerState != "PoweredOn" {
		t.Errorf("an emptied power state shows %q, error %v", out.Spec.PowerState, err)
	}
}

func TestCloneIsAnotherMachine(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.label("team-a/web-1", "app", "web")
	value := a.option(a.vm("team-a/web-1"), facts.RecordKey)
	a.do(a.vm("team-a/web-1").Clone(t.Context(), a.folder("team-a"), "web-2", types.VirtualMachineCloneSpec{}))
	a.setOption(a.vm("team-a/web-2"), facts.RecordKey, value)
	s.until("the clone with the original's metadata", func() bool { return s.list()["team-a/web-2"] != nil })
	if diff := cmp.Diff([]string{"team-a/db-1", "team-a/web-1", "team-a/web-2", "team-b/cache-1"}, s.keys()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	clone := s.get("team-a/web-2")
	if clone.Labels["app"] != "" || condition(clone, projection.MetadataReadableCondition) != "" ||
		clone.UID == s.get("team-a/web-1").UID {
		t.Errorf("the clone passes for the original: %+v", clone.ObjectMeta)
	}
	if got := s.label("team-a/web-2", "app", "clone"); got.Name != "web-2" || got.Labels["app"] != "clone" {
		t.Errorf("after a write of its own: %+v", got.ObjectMeta)
	}
	if got := s.get("team-a/web-1").Labels["app"]; got != "web" {
		t.Errorf("the original's label is %q", got)
	}
}

func TestChangesInVCenter(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	web, db := s.get("team-a/web-1").UID, s.get("team-a/db-1").UID

	one, two := a.vm("team-a/web-1"), a.vm("team-a/db-1")
	a.do(one.Rename(t.Context(), "between"))
	a.do(two.Rename(t.Context(), "web-1"))
	a.do(one.Rename(t.Context(), "db-1"))
	s.until("the names are swapped", func() bool {
		m := s.list()
		return m["team-a/web-1"] != nil && m["team-a/web-1"].UID == db && m["team-a/db-1"] != nil &&
			m["team-a/db-1"].UID == web && len(m) == 3
	})

	a.do(a.folder("team-b").MoveInto(t.Context(), []types.ManagedObjectReference{two.Reference()}))
	s.until("the machine is in the other namespace", func() bool {
		m := s.list()
		return m["team-a/web-1"] == nil && m["team-b/web-1"] != nil && m["team-b/web-1"].UID == db
	})

	a.do(one.PowerOff(t.Context()))
	s.until("it is off",
		func() bool { return s.get("team-a/db-1").Status.PowerState == vmopv1.VirtualMachinePowerStateOff })

	a.do(two.Rename(t.Context(), "Web Server / 1"))
	s.until("a name that is none in Kubernetes", func() bool {
		return slices.ContainsFunc(s.keys(), func(k string) bool { return strings.HasPrefix(k, "team-b/web-server-1-") })
	})

	a.do(two.Destroy(t.Context()))
	s.until("it is gone", func() bool { return len(s.list()) == 2 })
}

func TestMalformedMetadataStaysUntouched(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	for _, value := range []string{"v2:garbage", "v1:from the past", "v3:from the future"} {
		a.setOption(a.vm("team-a/web-1"), facts.RecordKey, value)
		s := serve(t, v)
		if got := condition(s.get("team-a/web-1"), projection.MetadataReadableCondition); got != "False MalformedMetadata" {
			t.Errorf("%q: condition %q", value, got)
		}
		_, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
			metav1.SetMetaDataLabel(&vm.ObjectMeta, "a", "b")
		})
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), facts.RecordKey) {
			t.Errorf("%q: a write gives %v", value, err)
		}
		err = s.store.Delete(t.Context(), "/virtualmachines/team-a/web-1", &vmopv1.VirtualMachine{}, nil,
			func(context.Context, runtime.Object) error { return nil }, nil, storage.DeleteOptions{})
		if !errors.Is(err, failure.Invalid) {
			t.Errorf("%q: a deletion gives %v", value, err)
		}
		if got := a.option(a.vm("team-a/web-1"), facts.RecordKey); got != value {
			t.Errorf("it was %q and is %q", value, got)
		}
		s.stop()
	}
}

func TestStaleVersionIsRefusedAndTriedAgain(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	vm := a.vm("team-a/web-1")
	// While the store computes the new object, somebody changes in vCenter what no object shows.
	first := true
	out := &vmopv1.VirtualMachine{}
	err := s.store.GuaranteedUpdate(t.Context(), "/virtualmachines/team-a/web-1", out, false, nil,
		storage.SimpleUpdate(func(o runtime.Object) (runtime.Object, error) {
			if first {
				first = false
				a.setOption(vm, "guestinfo.other", "x")
			}
			metav1.SetMetaDataLabel(&o.(*vmopv1.VirtualMachine).ObjectMeta, "app", "web")
			return o, nil
		}), nil)
	if err != nil || out.Labels["app"] != "web" {
		t.Errorf("error %v, labels %v", err, out.Labels)
	}
	if got := a.option(vm, "guestinfo.other"); got != "x" {
		t.Errorf("the other change is lost: %q", got)
	}

	// vCenter says again and again that there was another change: that comes out as a conflict, and writes nothing.
	v.AddFault(vcentertest.Fault{Method: "ReconfigVM_Task", Fault: &types.ConcurrentAccess{}})
	before := a.option(vm, facts.RecordKey)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	current := s.get("team-a/web-1")
	desired := current.DeepCopy()
	desired.Labels["app"] = "other"
	if err := s.backend.Update(ctx, current, desired); !errors.Is(err, failure.Conflict) {
		t.Errorf("error %v, want a conflict", err)
	}
	v.ClearFaults()
	if got := a.option(vm, facts.RecordKey); got != before {
		t.Error("the refused write was written")
	}
	// An object that the mirror no longer has is refused before vCenter is asked.
	tasks := s.writer.started()
	stale := current.DeepCopy()
	stale.Labels["app"] = "never"
	if err := s.backend.Update(t.Context(), stale, desired); !errors.Is(err, failure.Conflict) {
		t.Errorf("error %v, want a conflict", err)
	}
	if s.writer.started() != tasks {
		t.Error("vCenter was asked to change what had changed")
	}
}

// TestARevertIsTold: a VI admin reverts a machine to a snapshot, and its record with it. Nothing is done to it until
// somebody decides.
func TestARevertIsTold(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.askDeletion("team-a/web-1")
	vm := a.vm("team-a/web-1")
	a.do(vm.CreateSnapshot(t.Context(), "before", "", false, false))
	id := state(t, s, "team-a/web-1").ID
	err := s.verbs.Amend(t.Context(), id, func(now facts.Machine) (facts.Head, error) {
		head := *now.Head
		head.Deletion = time.Time{}
		return head, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.until("no deletion", func() bool { return s.get("team-a/web-1").DeletionTimestamp == nil })
	a.do(vm.RevertToSnapshot(t.Context(), "before", true))
	s.until("word of the revert", func() bool {
		return condition(s.get("team-a/web-1"), projection.MetadataCurrentCondition) == "False WentBack"
	})
	if at := s.get("team-a/web-1").DeletionTimestamp; at != nil {
		t.Errorf("it is being deleted since %s", at)
	}
	if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
		t.Errorf("destroy: %v", err)
	}
	if got := s.label("team-a/web-1", "app", "web"); condition(got, projection.MetadataCurrentCondition) != "" ||
		got.DeletionTimestamp != nil {
		t.Errorf("after a write: %+v", got.ObjectMeta)
	}
	record := keys().Decode(a.option(vm, facts.RecordKey))
	if head := record.Head; record.Err != nil || head.Sequence != 3 || !head.Deletion.IsZero() {
		t.Errorf("the record: %+v, %v", head, record.Err)
	}
}

// refresher has a collector read an object anew.
type refresher struct{ *inventory.Collector }

func (r refresher) Refresh(ctx context.Context, id facts.ID) error {
	return r.Collector.Refresh(ctx, types.ManagedObjectReference{Type: id.Type, Value: id.Value})
}
