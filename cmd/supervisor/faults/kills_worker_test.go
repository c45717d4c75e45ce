// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	govmomifind "github.com/vmware/govmomi/find"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// fate is what is known of the answer to a request.
type fate int

const (
	no    fate = iota
	maybe      // it failed, or nobody answered: it may have been carried out all the same
	yes
)

// wish is what is declared of a vSphere Namespace.
type wish struct {
	zones       []string
	cpuLimitMHz int64
	memoryMiB   int64
	access      []v1alpha1.NamespaceAccess
	kept
}

// kept is what stayed in vCenter of one that was deleted, with what others have in it, and is taken over by name.
type kept struct {
	folder string
	pools  []string
}

func (w wish) spec() v1alpha1.NamespaceSpec {
	return v1alpha1.NamespaceSpec{
		Folder: w.folder, ResourcePools: w.pools,
		Zones:  w.zones,
		Access: w.access,
		Resources: v1alpha1.NamespaceResources{
			CPULimitMHz: &w.cpuLimitMHz, MemoryLimit: resource.NewQuantity(w.memoryMiB<<20, resource.BinarySI),
		},
	}
}

// subject is a vSphere Namespace to come, one that is, or one that was. One worker alone has to do with it.
type subject struct {
	name             string
	created, deleted fate
	// wishes are those that may have been accepted last, one of which counts.
	wishes []wish
	// foreign are the machines that a VI admin made in it, and ours those that stand for what Pacific made. Of a machine
	// that may have been made nothing is expected.
	foreign, ours []string
	kept          kept // that it took over
}

// killWorker makes, changes and deletes vSphere Namespaces of its own, one request after the other.
type killWorker struct {
	// turn is held while a thing is done, and by whoever does something to one of its subjects.
	turn sync.Mutex

	t      *testing.T
	f      *faulty
	number int
	random *rand.Rand
	log    *log.Logger
	roles  *roles
	// installation is the Supervisor's, whose records count, and keys prove them.
	installation string
	keys         *machine.Keys
	namespaces   versioned.Interface
	core         kubernetes.Interface
	machines     dynamic.Interface

	subjects                   []*subject
	accepted, refused, deleted int
}

func newKillWorker(t *testing.T, f *faulty, journal *log.Logger, taken *roles, number int, seed uint64) *killWorker {
	t.Helper()
	config := f.Config(t)
	config.Timeout = 10 * time.Second
	// An answer is an answer: the client does not try again by itself, since that would hide what the first request did.
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return supervisortest.RoundTripper(func(request *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(request)
			if err == nil {
				response.Header.Del("Retry-After")
			}
			return response, err
		})
	})
	return &killWorker{
		t: t, f: f, log: journal, roles: taken, number: number, random: rand.New(rand.NewPCG(seed, uint64(number)+1)),
		namespaces: versioned.NewForConfigOrDie(config), core: kubernetes.NewForConfigOrDie(config),
		machines:     dynamic.NewForConfigOrDie(config),
		installation: f.Installation(t), keys: f.RecordKeys(t),
	}
}

func (w *killWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.step(ctx)
		pause(ctx, time.Duration(w.random.IntN(120))*time.Millisecond)
	}
}

// step does one thing.
func (w *killWorker) step(ctx context.Context) {
	w.turn.Lock()
	defer w.turn.Unlock()
	var living, gone []*subject
	for _, s := range w.subjects {
		switch {
		case s.created == yes && s.deleted == no:
			living = append(living, s)
		case s.deleted == yes && len(s.foreign) > 0:
			gone = append(gone, s)
		}
	}
	dice := w.random.IntN(100)
	switch {
	case len(living) < 2 || len(living) < 5 && dice < 30:
		if len(gone) > 0 && w.random.IntN(3) == 0 {
			w.revive(ctx, gone[w.random.IntN(len(gone))])
			return
		}
		s := &subject{name: fmt.Sprintf("k%d-%d", w.number, len(w.subjects))}
		w.subjects = append(w.subjects, s)
		w.create(ctx, s)
	case dice < 55:
		w.update(ctx, living[w.random.IntN(len(living))])
	case dice < 70:
		w.makeMachine(ctx, living[w.random.IntN(len(living))])
	default:
		w.delete(ctx, living[w.random.IntN(len(living))])
	}
}

// wish is a random one.
func (w *killWorker) wish() wish {
	wish := wish{zones: []string{"cluster-a", "cluster-b"}, cpuLimitMHz: 1000 + w.random.Int64N(5000),
		memoryMiB: 1024 + w.random.Int64N(4096)}
	if w.random.IntN(3) == 0 {
		wish.zones = wish.zones[:1]
	}
	for i, role := range []v1alpha1.Role{v1alpha1.RoleView, v1alpha1.RoleEdit, v1alpha1.RoleOwner} {
		if w.random.IntN(2) == 0 {
			kind := []v1alpha1.SubjectKind{v1alpha1.SubjectUser, v1alpha1.SubjectGroup}[w.random.IntN(2)]
			wish.access = append(wish.access, v1alpha1.NamespaceAccess{Kind: kind,
				Name: fmt.Sprintf("team %d/%d@vsphere.local", i, w.random.IntN(3)), Role: role})
		}
	}
	return wish
}

// answered counts an answer and says whether the request was accepted.
func (w *killWorker) answered(what string, s *subject, err error) bool {
	w.log.Printf("%s %s: %v", what, s.name, err)
	if err != nil {
		w.refused++
		return false
	}
	w.accepted++
	return true
}

func (w *killWorker) create(ctx context.Context, s *subject) {
	wish := w.wish()
	wish.take(s.kept)
	s.created, s.wishes = maybe, append(s.wishes, wish)
	persistent := w.random.IntN(4) > 0
	refused := false
	for first := true; ctx.Err() == nil; first = false {
		_, err := w.namespaces.VsphereV1alpha1().Namespaces().Create(ctx,
			&v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}, Spec: wish.spec()}, metav1.CreateOptions{})
		if refused && apierrors.IsAlreadyExists(err) {
			// What is there may be what an attempt had begun that was refused for want of a role: that goes again.
			return
		}
		refused = refused || apierrors.IsForbidden(err)
		if w.answered("create", s, err) || !first && apierrors.IsAlreadyExists(err) {
			s.created, s.wishes = yes, s.wishes[len(s.wishes)-1:]
			return
		}
		if apierrors.IsInvalid(err) || apierrors.IsAlreadyExists(err) {
			w.t.Errorf("create %s: %v", s.name, err)
			return
		}
		if !persistent {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// revive creates one again whose folder stayed in vCenter with the machines of others, once it is gone. It takes the
// folder over, by its id.
func (w *killWorker) revive(ctx context.Context, s *subject) {
	_, err := w.namespaces.VsphereV1alpha1().Namespaces().Get(ctx, s.name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return
	}
	left, err := w.f.left(ctx, s.name)
	if err != nil {
		return
	}
	s.created, s.deleted, s.wishes, s.ours, s.kept = no, no, nil, nil, left
	w.create(ctx, s)
}

// take has the wish take over what was kept, in all zones that there are.
func (w *wish) take(k kept) {
	if w.kept = k; len(k.pools) > 0 {
		w.zones = []string{"cluster-a", "cluster-b"}
	}
}

// left is what there is in vCenter of a name.
func (f *faulty) left(ctx context.Context, name string) (left kept, err error) {
	b, err := f.vcenter.Builder(ctx)
	if err != nil {
		return kept{}, err
	}
	defer b.Close(context.WithoutCancel(ctx))
	find, err := finder(ctx, b)
	if err != nil {
		return kept{}, err
	}
	folder, err := find.Folder(ctx, "/DC0/vm/Namespaces/"+name)
	if err != nil {
		return kept{}, err
	}
	left.folder = folder.Reference().Value
	pools, err := find.ResourcePoolList(ctx, "/DC0/host/*/Resources/"+name)
	if missing := new(govmomifind.NotFoundError); err != nil && !errors.As(err, &missing) {
		return kept{}, err
	}
	for _, pool := range pools {
		left.pools = append(left.pools, pool.Reference().Value)
	}
	slices.Sort(left.pools)
	return left, nil
}

func (w *killWorker) update(ctx context.Context, s *subject) {
	wish := w.wish()
	wish.take(s.kept)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"zones": wish.zones, "access": wish.access,
		"resources": map[string]any{"cpuLimitMHz": wish.cpuLimitMHz, "memoryLimit": fmt.Sprintf("%dMi", wish.memoryMiB)},
	}})
	if err != nil {
		w.t.Error(err)
		return
	}
	before := w.roles.changes.Load()
	_, err = w.namespaces.VsphereV1alpha1().Namespaces().Patch(ctx, s.name, types.MergePatchType, patch,
		metav1.PatchOptions{})
	switch {
	case w.answered("update", s, err):
		s.wishes = s.wishes[:0]
	case apierrors.IsInvalid(err) || apierrors.IsForbidden(err) && !w.roles.explain(err, before):
		w.t.Errorf("update %s: %v", s.name, err)
		return
	}
	s.wishes = append(s.wishes, wish)
}

// makeMachine is a VI admin who makes a machine in the folder, in the pool of the namespace or outside of it, and does
// not know of anything else. Now and then it stands for one that Pacific made.
func (w *killWorker) makeMachine(ctx context.Context, s *subject) {
	// What was begun is noted, also at the end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	namespace, err := w.namespaces.VsphereV1alpha1().Namespaces().Get(ctx, s.name, metav1.GetOptions{})
	if err != nil || namespace.Status.Folder == "" {
		return
	}
	vm := vcentertest.VM{
		Name: fmt.Sprintf("%s-vm-%d", s.name, w.random.IntN(1e9)), Folder: supervisortest.InNamespaces(s.name),
		Cluster: "cluster-a", GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024, InstanceUUID: uuid.NewString(),
	}
	if w.random.IntN(2) == 0 {
		vm.Pool = s.name
	}
	ours := w.random.IntN(4) == 0
	if ours {
		if vm.ExtraConfig, err = supervisortest.Record(w.keys, facts.Head{
			Installation: w.installation, UID: vm.InstanceUUID, Sequence: 1, Created: true, Namespace: s.name, Name: vm.Name,
			Folder: facts.ID{VCenter: w.f.vcenter.InstanceUUID(), Type: facts.TypeFolder, Value: namespace.Status.Folder},
		}, nil); err != nil {
			w.t.Error(err)
			return
		}
	}
	builder, err := w.f.vcenter.Builder(ctx)
	if err != nil {
		return
	}
	defer builder.Close(ctx)
	if err := builder.In(ctx, "DC0"); err != nil {
		return
	}
	if _, err := builder.VirtualMachine(ctx, vm); err != nil {
		return
	}
	w.log.Printf("machine %s, of Pacific's: %t", vm.Name, ours)
	if !ours {
		s.foreign = append(s.foreign, vm.Name)
		return
	}
	// A deletion takes away what is served by then.
	err = again(context.WithoutCancel(ctx), 2*time.Minute, func(ctx context.Context) error {
		_, err := w.machines.Resource(supervisortest.Machines).Namespace(s.name).Get(ctx, vm.Name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		w.t.Errorf("the machine %s is not served: %v", vm.Name, err)
	}
	s.ours = append(s.ours, vm.Name)
}

func (w *killWorker) delete(ctx context.Context, s *subject) {
	persistent, byCore := w.random.IntN(4) > 0, w.random.IntN(3) == 0
	if byCore {
		// Only one that has a Kubernetes Namespace can be deleted by it, and not by that of an attempt which was refused.
		core, err := w.core.CoreV1().Namespaces().Get(ctx, s.name, metav1.GetOptions{})
		byCore = err == nil && core.DeletionTimestamp == nil && core.Annotations["vmware-system-vm-folder"] != ""
	}
	for first := true; ctx.Err() == nil; first = false {
		var err error
		before := w.roles.changes.Load()
		if byCore {
			err = w.core.CoreV1().Namespaces().Delete(ctx, s.name, metav1.DeleteOptions{})
		} else {
			err = w.namespaces.VsphereV1alpha1().Namespaces().Delete(ctx, s.name, metav1.DeleteOptions{})
		}
		if w.answered("delete", s, err) || apierrors.IsConflict(err) && byCore {
			s.deleted = yes
			w.deleted++
			return
		}
		if apierrors.IsNotFound(err) {
			// By a request before, or it is served under the name that its folder has just had.
			if first {
				s.deleted = no
			}
			return
		}
		s.deleted = maybe
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) && !w.roles.explain(err, before) {
			w.t.Errorf("delete %s: %v", s.name, err)
			return
		}
		if !persistent {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}
