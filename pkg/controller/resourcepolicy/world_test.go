// SPDX-License-Identifier: Apache-2.0

package resourcepolicy_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	govmomi "github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller/resourcepolicy"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/clustermodule"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const team = "team-a"

type policy = vmopv1.VirtualMachineSetResourcePolicy

// documents are records that outlive the servers of a test.
type documents struct {
	mu   sync.Mutex
	kept map[string]resourcepolicy.Document
	next int64
}

func (d *documents) List(context.Context) (map[string]resourcepolicy.Document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.kept), nil
}

func (d *documents) Put(_ context.Context, id string, value []byte, revision int64) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[id].Revision != revision {
		return 0, failure.Conflict
	}
	d.next++
	d.kept[id] = resourcepolicy.Document{Value: value, Revision: d.next}
	return d.next, nil
}

func (d *documents) Delete(_ context.Context, id string, revision int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[id].Revision != revision {
		return failure.Conflict
	}
	delete(d.kept, id)
	return nil
}

func (d *documents) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept)
}

// policies are those that are declared. They outlive the servers of a test.
type policies struct {
	*cachetesting.FakeControllerSource
	mu  sync.Mutex
	all map[string]*policy
}

func (p *policies) Get(_ context.Context, _, name string) (*policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.all[name]; found != nil {
		return found.DeepCopy(), nil
	}
	return nil, failure.NotFound
}

func (p *policies) List(context.Context, string) ([]*policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*policy
	for _, one := range p.all {
		all = append(all, one.DeepCopy())
	}
	return all, nil
}

func (p *policies) Report(_ context.Context, _, name string, uid types.UID, change func(*policy)) error {
	p.change(name, func(now *policy) {
		if now.UID == uid {
			change(now)
		}
	})
	return nil
}

func (p *policies) change(name string, change func(*policy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.all[name]; now != nil {
		now = now.DeepCopy()
		change(now)
		p.all[name] = now
		p.Modify(now.DeepCopy())
	}
}

func (p *policies) Release(_ context.Context, _, name string, uid types.UID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.all[name]; now != nil && now.UID == uid {
		delete(p.all, name)
		p.FakeControllerSource.Delete(now.DeepCopy())
	}
	return nil
}

var errKilled = errors.New("killed")

// life is how many steps a process lives to take: each act on vCenter and each write of a record is two, before and
// after which it can die. -1 is for ever.
type life struct {
	mu    sync.Mutex
	steps int
	dead  bool
}

func (l *life) take(step func() error) error {
	if !l.step() {
		return errKilled
	}
	err := step()
	if !l.step() {
		return errKilled
	}
	return err
}

func (l *life) step() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == 0 {
		l.dead = true
	}
	l.steps--
	return !l.dead
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

type mortalWriter struct {
	*vcenter.Writer
	rest *vcenter.RESTSession
	life *life
}

func (m mortalWriter) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	return m.life.take(func() error { return m.Writer.Do(ctx, operation, f) })
}

func (m mortalWriter) RunTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (govmomi.ManagedObjectReference, error)) (info *govmomi.TaskInfo, err error) {
	err = m.life.take(func() error {
		info, err = m.Writer.RunTask(ctx, operation, start)
		return err
	})
	return info, err
}

// restWriter is the same for the REST endpoints.
type restWriter struct{ mortalWriter }

func (m restWriter) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	return m.life.take(func() error { return m.DoREST(ctx, m.rest, operation, f) })
}

type mortalDocuments struct {
	*documents
	life *life
}

func (m mortalDocuments) Put(ctx context.Context, id string, value []byte, revision int64) (next int64, err error) {
	err = m.life.take(func() error {
		next, err = m.documents.Put(ctx, id, value, revision)
		return err
	})
	return next, err
}

func (m mortalDocuments) Delete(ctx context.Context, id string, revision int64) error {
	return m.life.take(func() error { return m.documents.Delete(ctx, id, revision) })
}

// mortalPolicies are those that a process sees.
type mortalPolicies struct {
	*policies
	life *life
}

func (m mortalPolicies) Report(ctx context.Context, namespace, name string, uid types.UID, change func(*policy)) error {
	return m.life.take(func() error { return m.policies.Report(ctx, namespace, name, uid, change) })
}

func (m mortalPolicies) Release(ctx context.Context, namespace, name string, uid types.UID) error {
	return m.life.take(func() error { return m.policies.Release(ctx, namespace, name, uid) })
}

// world is what outlives a server: a vCenter, the records, and what is declared.
type world struct {
	t        *testing.T
	vcenter  *vcentertest.VCenter
	session  *vcenter.Session
	rest     *vcenter.RESTSession
	finder   *find.Finder
	about    string
	records  *documents
	policies *policies
	machines *cachetesting.FakeControllerSource
	spaces   *cachetesting.FakeControllerSource

	mu         sync.Mutex
	home       resourcepolicy.Home
	events     []string
	strayed    map[facts.ID]bool
	conditions map[string]string // by the machine's name
}

func newWorld(t *testing.T) *world {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{Inventory: vcentertest.Sample})
	session, err := vcenter.NewSession(vcenter.Config{
		URL: v.URL(), CredentialsFile: v.CredentialsFile(t), CAFile: v.CAFile(t), Logger: klog.Background(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = session.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, vcenter: v, session: session, rest: &vcenter.RESTSession{Session: session},
		finder: find.NewFinder(client.Client, false), about: client.ServiceContent.About.InstanceUuid,
		records:  &documents{kept: map[string]resourcepolicy.Document{}},
		policies: &policies{FakeControllerSource: cachetesting.NewFakeControllerSource(), all: map[string]*policy{}},
		machines: cachetesting.NewFakeControllerSource(), spaces: cachetesting.NewFakeControllerSource(),
		conditions: map[string]string{},
	}
	w.home = resourcepolicy.Home{Folder: w.id("/DC0/vm/Namespaces/team-a"), Zones: map[string]resourcepolicy.Zone{
		"cluster-a": {Pool: w.id("/DC0/host/cluster-a/Resources/team-a"), Cluster: w.id("/DC0/host/cluster-a"), MHz: 2000,
			CPU: 4000, Memory: 4096},
		"cluster-b": {Pool: w.id("/DC0/host/cluster-b/Resources/team-a"), Cluster: w.id("/DC0/host/cluster-b"), MHz: 2500,
			CPU: 4000, Memory: 4096},
	}}
	w.spaces.Add(&vspherev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}})
	return w
}

// Home implements resourcepolicy.Site.
func (w *world) Home(namespace string) (resourcepolicy.Home, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.home, namespace == team && !w.home.Folder.IsZero()
}

// Strayed implements resourcepolicy.Site.
func (w *world) Strayed(id, _ facts.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.strayed[id]
}

// Event implements resourcepolicy.Recorder.
func (w *world) Event(_ runtime.Object, eventtype, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, eventtype+" "+reason+": "+message)
}

func (w *world) told(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(event string) bool { return strings.Contains(event, what) })
}

// SetCondition implements resourcepolicy.Conditions.
func (w *world) SetCondition(_, name string, _ types.UID, condition metav1.Condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conditions[name] = string(condition.Status) + " " + condition.Reason
}

// ClearCondition implements resourcepolicy.Conditions.
func (w *world) ClearCondition(string, string, types.UID, string) {}

func (w *world) condition(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conditions[name]
}

// id is the one of whatever lies at a path.
func (w *world) id(path string) facts.ID {
	w.t.Helper()
	found, err := w.finder.ManagedObjectList(w.t.Context(), path)
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%s: %v, %v", path, found, err)
	}
	ref := found[0].Object.Reference()
	return facts.ID{VCenter: w.about, Type: ref.Type, Value: ref.Value}
}

// here lists what folders and pools there are below the namespace's, and how many modules.
func (w *world) here() []string {
	w.t.Helper()
	var paths []string
	for _, below := range []string{"/DC0/vm/Namespaces/team-a/*", "/DC0/host/cluster-a/Resources/team-a/*",
		"/DC0/host/cluster-b/Resources/team-a/*"} {
		found, err := w.finder.ManagedObjectList(w.t.Context(), below)
		var missing *find.NotFoundError
		if err != nil && !errors.As(err, &missing) {
			w.t.Fatal(err)
		}
		for _, one := range found {
			if kind := one.Object.Reference().Type; kind == facts.TypeFolder || kind == facts.TypePool {
				paths = append(paths, strings.TrimPrefix(one.Path, "/DC0/"))
			}
		}
	}
	if modules := len(w.vcenter.ClusterModules().All()); modules > 0 {
		paths = append(paths, fmt.Sprintf("%d modules", modules))
	}
	return paths
}

// all is what there is when the policy "cluster" has all that it asks for.
var all = []string{"vm/Namespaces/team-a/cluster", "host/cluster-a/Resources/team-a/cluster",
	"host/cluster-b/Resources/team-a/cluster", "4 modules"}

// declare makes a policy that asks for everything of its name.
func (w *world) declare(name string, change ...func(*policy)) {
	w.t.Helper()
	made := &policy{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name, UID: types.UID("uid-of-" + name)}}
	made.Spec.Folder, made.Spec.ResourcePool.Name = name, name
	made.Spec.ClusterModuleGroups = []string{"control-plane-group", "workers"}
	for _, one := range change {
		one(made)
	}
	w.policies.mu.Lock()
	w.policies.all[name] = made
	w.policies.mu.Unlock()
	w.policies.Add(made.DeepCopy())
}

// remove asks for the deletion of a policy.
func (w *world) remove(name string) {
	w.policies.change(name, func(p *policy) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} })
}

func (w *world) gone(name string) bool {
	_, err := w.policies.Get(context.Background(), team, name)
	return err != nil
}

// machine shows a machine of vCenter as one of a policy.
func (w *world) machine(name, of, group string) *vmopv1.VirtualMachine {
	id := w.id("/DC0/vm/Namespaces/team-a/" + name)
	vm := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name, UID: types.UID("uid-of-" + name)}}
	if group != "" {
		vm.Annotations = map[string]string{"vsphere-cluster-module-group": group}
	}
	vm.Spec.Reserved = &vmopv1.VirtualMachineReservedSpec{ResourcePolicyName: of}
	vm.Status.UniqueID, vm.Status.Zone = id.Value, "cluster-a"
	return vm
}

// server is a controller that lives for so many steps; -1 is for ever.
type server struct {
	*world
	controller *resourcepolicy.Controller
	life       *life
	stop       func()
}

func (w *world) start(steps int) *server {
	w.t.Helper()
	alive := &life{steps: steps}
	writer := mortalWriter{
		Writer: &vcenter.Writer{Session: w.session, Reign: vcentertest.Reign{}, Following: vcentertest.Following},
		rest:   w.rest, life: alive,
	}
	c := &resourcepolicy.Controller{
		Served: w.policies.FakeControllerSource, Machines: w.machines, Namespaces: w.spaces,
		Policies: mortalPolicies{w.policies, alive}, Conditions: w, Site: w,
		Folders:   &folder.Verbs{Session: w.session, Writer: writer},
		Pools:     &pool.Verbs{Session: w.session, Writer: writer},
		Modules:   &clustermodule.Verbs{Session: w.rest, Writer: restWriter{writer}},
		Documents: mortalDocuments{w.records, alive}, Recorder: w, Clock: clock.RealClock{}, Logger: klog.Background(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	s := &server{world: w, controller: c, life: alive, stop: sync.OnceFunc(func() {
		cancel()
		<-done
	})}
	w.t.Cleanup(s.stop)
	return s
}

func (w *world) vm(name string) *object.VirtualMachine {
	w.t.Helper()
	found, err := w.finder.VirtualMachine(w.t.Context(), "/DC0/vm/Namespaces/team-a/"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// move has a machine lie in another folder, as a VI admin would.
func (w *world) move(machine, into string) {
	w.t.Helper()
	to, err := w.finder.Folder(w.t.Context(), into)
	if err != nil {
		w.t.Fatal(err)
	}
	task, err := to.MoveInto(w.t.Context(), []govmomi.ManagedObjectReference{w.vm(machine).Reference()})
	if err == nil {
		err = task.WaitEx(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// destroy ends a machine in vCenter, and then shows it no more.
func (w *world) destroy(vm *vmopv1.VirtualMachine) {
	w.t.Helper()
	found := w.vm(vm.Name)
	if task, err := found.PowerOff(w.t.Context()); err == nil {
		_ = task.WaitEx(w.t.Context()) // it may be off
	}
	task, err := found.Destroy(w.t.Context())
	if err == nil {
		err = task.WaitEx(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.machines.Delete(vm)
}
