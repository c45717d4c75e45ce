// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere/install"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const patience = 20 * time.Second

// documents are records that outlive the servers of a test. After the step-th
// write they fail, as etcd does for a process that dies.
type documents struct {
	mu   sync.Mutex
	kept map[string]realisation.Document
	next int64
}

func (d *documents) List(context.Context) (map[string]realisation.Document, error) {
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
	if d.kept == nil {
		d.kept = map[string]realisation.Document{}
	}
	d.next++
	d.kept[id] = realisation.Document{Value: value, Revision: d.next}
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

// folders are the detached ones; they outlive the servers of a test too.
type folders struct {
	detached map[string]bool
	// taken are names of Kubernetes Namespaces of others, reserved those that were
	// reserved and not released.
	taken, reserved map[string]bool
	picture         *picture.Picture
	projector       *projection.Projector
}

func (f *folders) Detach(_ context.Context, folder facts.ID, _ string) error {
	f.detached[folder.Value] = true
	f.picture.SetDetached(f.detached)
	return nil
}

func (f *folders) Attach(_ context.Context, folder facts.ID) error {
	delete(f.detached, folder.Value)
	f.picture.SetDetached(f.detached)
	return nil
}

// Reserve refuses a name that is a folder's by now, whatever it was reserved for: its Kubernetes Namespace is.
func (f *folders) Reserve(_ context.Context, name string, folder facts.ID) error {
	if f.taken[name] {
		return failure.AlreadyExists
	}
	there, _ := f.projector.Folders()
	for _, other := range there {
		if other.Path == name && other.Folder != folder && !other.Detached {
			return failure.AlreadyExists
		}
	}
	f.reserved[name] = true
	return nil
}

func (f *folders) Release(_ context.Context, name string) error {
	delete(f.reserved, name)
	return nil
}

var errKilled = errors.New("killed")

// life is how many steps a process lives to take: each call to vCenter and each
// write of a record is two, before and after which it can die.
type life struct {
	mu    sync.Mutex
	steps int
	dead  bool
}

// take takes a step, unless the process dies before or after it.
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

// step says whether it is alive still.
func (l *life) step() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == 0 {
		l.dead = true
	}
	l.steps--
	return !l.dead
}

type mortal struct {
	*vcenter.Session
	life *life
}

func (m mortal) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	return m.life.take(func() error { return m.Session.Do(ctx, operation, f) })
}

func (m mortal) Reachable(ctx context.Context) error {
	return m.life.take(func() error { return m.Session.Reachable(ctx) })
}

type mortalWriter struct {
	*vcenter.Writer
	life *life
}

func (m mortalWriter) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	return m.life.take(func() error { return m.Writer.Do(ctx, operation, f) })
}

func (m mortalWriter) RunTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (info *types.TaskInfo, err error) {
	err = m.life.take(func() error {
		info, err = m.Writer.RunTask(ctx, operation, start)
		return err
	})
	return info, err
}

// refresher reads what is named by an id.
type refresher struct{ collector *inventory.Collector }

func (r refresher) Refresh(ctx context.Context, id facts.ID) error {
	return r.collector.Refresh(ctx, types.ManagedObjectReference{Type: id.Type, Value: id.Value})
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

// world is what outlives a server.
type world struct {
	t        *testing.T
	vcenter  *vcentertest.VCenter
	session  *vcenter.Session
	records  *documents
	detached map[string]bool
	taken    map[string]bool
	reserved map[string]bool
	zones    []string
}

func newWorld(t *testing.T, build vcentertest.Inventory) *world {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{Inventory: build})
	session, err := vcenter.NewSession(vcenter.Config{URL: v.URL(), CredentialsFile: v.CredentialsFile(t),
		CAFile: v.CAFile(t), Logger: klog.Background()})
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
	return &world{t: t, vcenter: v, session: session, records: &documents{}, detached: map[string]bool{},
		taken: map[string]bool{}, reserved: map[string]bool{}}
}

// server is everything between vCenter and the registry.
type server struct {
	*world
	projector *projection.Projector
	picture   *picture.Picture
	backend   *realisation.Backend
	writer    *vcenter.Writer
	store     *livestore.Store
	stop      func()
}

// start starts a server that lives for so many steps; -1 is for ever.
func (w *world) start(steps int) *server {
	w.t.Helper()
	s := &server{world: w, projector: projection.NewProjector(projection.Config{
		Logger: klog.Background(), Zones: w.zones,
	})}
	s.picture = &picture.Picture{Followers: []facts.Follower{s.projector}}
	collector := &inventory.Collector{Session: w.session, Handler: s.picture, Logger: klog.Background(),
		Kinds: picture.Kinds(nil)}
	alive := &life{steps: steps}
	session := mortal{w.session, alive}
	s.writer = &vcenter.Writer{Session: w.session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
	writer := mortalWriter{s.writer, alive}
	verbs, pools := &folder.Verbs{Session: session, Writer: writer}, &pool.Verbs{Session: session, Writer: writer}
	s.backend = &realisation.Backend{
		Ready: s.writer.Ready, Reachable: session.Reachable, FolderVerbs: verbs, FolderReader: verbs, PoolVerbs: pools,
		PoolReader: pools, Projector: s.projector, Refresher: refresher{collector},
		Documents: mortalDocuments{w.records, alive}, Logger: klog.Background(),
		Folders: &folders{detached: w.detached, taken: w.taken, reserved: w.reserved, picture: s.picture,
			projector: s.projector},
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	var err error
	s.store, err = livestore.New(livestore.Config{
		GroupResource:  v1alpha1.Resource("namespaces"),
		Codec:          serializer.NewCodecFactory(scheme).LegacyCodec(v1alpha1.SchemeGroupVersion),
		NewFunc:        func() runtime.Object { return &v1alpha1.Namespace{} },
		NewListFunc:    func() runtime.Object { return &v1alpha1.NamespaceList{} },
		ResourcePrefix: "/namespaces",
		Backend:        registry.Written(s.backend),
		Sequence:       livestore.NewSequence(uint64(time.Now().Unix())),
		IsConflict:     func(err error) bool { return errors.Is(err, failure.Conflict) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	restorer := &realisation.Backend{Projector: s.projector, Documents: w.records, Logger: klog.Background()}
	if err := restorer.Restore(w.t.Context(), "vcenter-1"); err != nil {
		w.t.Fatal(err)
	}
	s.picture.SetDetached(w.detached)
	s.projector.Namespaces().Attach(registry.Into[v1alpha1.Namespace]{Mirror: s.store, Prefix: "/namespaces"})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = collector.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	w.t.Cleanup(s.stop)
	s.until("the inventory is there", s.store.Ready)
	return s
}

func (s *server) until(what string, done func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not in time: %s; there is %v", what, slices.Sorted(maps.Keys(s.list())))
		}
		<-time.After(5 * time.Millisecond)
	}
}

// knows waits until the inventory has an object.
func (s *server) knows(ref types.ManagedObjectReference) {
	s.t.Helper()
	id := facts.ID{VCenter: s.projector.ID(ref.Value).VCenter, Type: ref.Type, Value: ref.Value}
	if err := s.backend.Refresher.Refresh(s.t.Context(), id); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) list() map[string]*v1alpha1.Namespace {
	s.t.Helper()
	list := &v1alpha1.NamespaceList{}
	if err := s.store.GetList(s.t.Context(), "/namespaces", storage.ListOptions{Recursive: true,
		Predicate: storage.Everything}, list); err != nil {
		s.t.Fatal(err)
	}
	m := map[string]*v1alpha1.Namespace{}
	for i := range list.Items {
		m[list.Items[i].Name] = &list.Items[i]
	}
	return m
}

func (s *server) get(name string) *v1alpha1.Namespace {
	s.t.Helper()
	found := s.list()[name]
	if found == nil {
		s.t.Fatalf("no %s; there is %v", name, slices.Sorted(maps.Keys(s.list())))
	}
	return found
}

func (s *server) create(object *v1alpha1.Namespace) error {
	return s.store.Create(s.t.Context(), "/namespaces/"+object.Name, object, &v1alpha1.Namespace{}, 0)
}

func (s *server) update(name string, change func(*v1alpha1.Namespace)) error {
	return s.store.GuaranteedUpdate(s.t.Context(), "/namespaces/"+name, &v1alpha1.Namespace{}, false, nil,
		storage.SimpleUpdate(func(o runtime.Object) (runtime.Object, error) {
			change(o.(*v1alpha1.Namespace))
			return o, nil
		}), nil)
}

// remove does what the registry and the controller do to delete a namespace whose
// Kubernetes Namespace is gone.
func (s *server) remove(name string) error {
	found := s.list()[name]
	if found == nil {
		return nil
	}
	if found.DeletionTimestamp == nil {
		if err := s.update(name, func(o *v1alpha1.Namespace) { o.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} }); err != nil {
			return err
		}
	}
	if err := s.backend.Dismantle(s.t.Context(), found.UID); err != nil {
		return err
	}
	return s.store.Delete(s.t.Context(), "/namespaces/"+name, &v1alpha1.Namespace{}, nil, storage.ValidateAllObjectFunc,
		nil, storage.DeleteOptions{})
}

func fresh(name string) *v1alpha1.Namespace {
	return &v1alpha1.Namespace{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: k8stypes.UID("uid-of-" + name), CreationTimestamp: metav1.Unix(1_700_000_000, 0), Generation: 1,
			Finalizers: []string{v1alpha1.NamespaceFinalizer}, Labels: map[string]string{"team": "c"},
		},
		Spec: v1alpha1.NamespaceSpec{
			Description: "for tests",
			Resources: v1alpha1.NamespaceResources{
				CPULimitMHz: ptr[int64](10_001), CPUReservationMHz: ptr[int64](1000),
				MemoryLimit: quantity("8Gi"), MemoryReservation: quantity("1Gi"),
			},
			Access: []v1alpha1.NamespaceAccess{{Kind: v1alpha1.SubjectUser, Name: "dev@vsphere.local", Role: v1alpha1.RoleEdit}},
		},
	}
}

func ptr[T any](v T) *T { return &v }

func quantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

// things are the folders and pools of that name in vCenter.
func (w *world) things(name string) (things []string) {
	w.t.Helper()
	b := w.builder()
	finder := find.NewFinder(b.Client.Client)
	if list, err := finder.FolderList(w.t.Context(), "/DC0/vm/Namespaces/"+name); err == nil {
		for _, f := range list {
			things = append(things, f.InventoryPath)
		}
	}
	if list, err := finder.ResourcePoolList(w.t.Context(), "/DC0/host/*/Resources/"+name); err == nil {
		for _, p := range list {
			things = append(things, p.InventoryPath)
		}
	}
	slices.Sort(things)
	return things
}

func (w *world) builder() *vcentertest.Builder {
	w.t.Helper()
	b, err := w.vcenter.Builder(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

func (w *world) pool(path string) *object.ResourcePool {
	w.t.Helper()
	pool, err := find.NewFinder(w.builder().Client.Client).ResourcePool(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	return pool
}

func made(name string) []string {
	return []string{"/DC0/host/cluster-a/Resources/" + name, "/DC0/host/cluster-b/Resources/" + name,
		"/DC0/vm/Namespaces/" + name}
}

// twoClusters is an inventory with two zones, and team-a made in the vSphere
// Client.
func twoClusters(ctx context.Context, b *vcentertest.Builder) error {
	return errors.Join(
		b.Datacenter(ctx, "DC0"),
		b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test"),
		b.Cluster(ctx, "cluster-b", "esx-b1.lab.pacific.test"),
		b.Datastore(ctx, "datastore-1"),
		b.Folder(ctx, "Namespaces/team-a"),
		b.Folder(ctx, "Namespaces/team-a/deep"),
		b.ResourcePool(ctx, "cluster-a", "team-a"),
		second(b.VirtualMachine(ctx, vcentertest.VM{Name: "web-1", Folder: "Namespaces/team-a", Cluster: "cluster-a",
			Pool: "team-a", GuestID: "ubuntu64Guest",
			CPUs: 1, MemoryMB: 1024, DisksGB: []int64{1}, Power: types.VirtualMachinePowerStatePoweredOn})),
		second(b.VirtualMachine(ctx, vcentertest.VM{Name: "web-2", Folder: "Namespaces/team-a/deep", Cluster: "cluster-a",
			Pool: "team-a", GuestID: "ubuntu64Guest",
			CPUs: 1, MemoryMB: 1024})),
	)
}

func second[T any](_ T, err error) error { return err }
