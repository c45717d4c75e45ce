// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// bystander is the name of a pool, of a machine in it, and of a Kubernetes Namespace, of all of which nobody has told
	// Pacific.
	bystander = "bystander"
	// wanderers are machines that a VI admin moves about.
	wanderers = 4
	// quiet is the namespace of the samples in which nothing happens.
	quiet = "team-b"
	// marker is a machine in team-a that a VI admin switches, to see how far the server has come.
	marker = "marker"
)

// killInventory is Sample with what must not be touched.
func killInventory(ctx context.Context, b *vcentertest.Builder) error {
	if err := vcentertest.Sample(ctx, b); err != nil {
		return err
	}
	if err := b.ResourcePool(ctx, "cluster-a", bystander); err != nil {
		return err
	}
	vms := []vcentertest.VM{{Name: bystander, Pool: bystander, Power: types.VirtualMachinePowerStatePoweredOn}}
	for i := range wanderers {
		vm := vcentertest.VM{Name: fmt.Sprintf("wanderer-%d", i), InstanceUUID: uuid.NewString()}
		if i%2 == 0 {
			vm.Power = types.VirtualMachinePowerStatePoweredOn
		}
		if i >= wanderers/2 {
			// Another installation of Pacific made it, and was to delete it.
			var err error
			if vm.ExtraConfig, err = supervisortest.Record(machine.NewKeys([]byte("another's")), facts.Head{
				Installation: uuid.NewString(), UID: vm.InstanceUUID, Sequence: 9, Created: true, Namespace: "elsewhere",
				Name: vm.Name, ReclaimPolicy: "Delete", Deletion: time.Now().Add(-time.Hour).Truncate(time.Second),
			}, nil); err != nil {
				return err
			}
		}
		vms = append(vms, vm)
	}
	for i := range vms {
		vms[i].Folder = "Infrastructure"
	}
	vms = append(vms, vcentertest.VM{Name: marker, Folder: supervisortest.InNamespaces("team-a")})
	for _, vm := range vms {
		vm.Cluster, vm.GuestID, vm.CPUs, vm.MemoryMB = "cluster-a", "ubuntu64Guest", 1, 1024
		if _, err := b.VirtualMachine(ctx, vm); err != nil {
			return err
		}
	}
	return nil
}

// bystanders are those whom nothing of what happens may reach.
type bystanders struct {
	t          *testing.T
	f          *faulty
	log        *log.Logger
	core       kubernetes.Interface
	machines   dynamic.Interface
	namespaces versioned.Interface
	namespace  *corev1.Namespace // called bystander
	before     *everything
	served     map[string]string // uids of the machines of the quiet namespace, by name

	mu      sync.Mutex
	wrong   []string
	at      map[string]string // ids of the folders that machines of others were moved to, by name
	visited map[string]bool   // ids of all such folders
}

func newBystanders(t *testing.T, f *faulty, journal *log.Logger) *bystanders {
	t.Helper()
	config := f.Config(t)
	config.Timeout = 10 * time.Second
	b := &bystanders{
		t: t, f: f, log: journal, core: kubernetes.NewForConfigOrDie(config), machines: dynamic.NewForConfigOrDie(config),
		namespaces: versioned.NewForConfigOrDie(config), served: map[string]string{}, at: map[string]string{},
		visited: map[string]bool{},
	}
	ctx := t.Context()
	made, err := b.core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: bystander, Annotations: map[string]string{"of": "others"},
	}}, metav1.CreateOptions{})
	if err == nil {
		_, err = b.core.CoreV1().Secrets(bystander).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kept"}},
			metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.namespace = made
	// A folder is served once it has been granted its name, a moment after the server is ready.
	waittest.Within(t, 2*time.Minute, "what there is of others", func(ctx context.Context) error {
		list, err := b.machines.Resource(supervisortest.Machines).Namespace(quiet).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return errors.New("no machine is served")
		}
		for _, item := range list.Items {
			b.served[item.GetName()] = string(item.GetUID())
		}
		if b.before, err = newKillCheck(t, f, nil, b).everything(ctx); err == nil {
			delete(b.before.power, marker)
		}
		return err
	})
	return b
}

// wronged notes what must not happen, once.
func (b *bystanders) wronged(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.wrong, text) {
		b.log.Printf("WRONG: %s", text)
		b.wrong = append(b.wrong, text)
	}
}

// moved notes where a machine of others was moved to.
func (b *bystanders) moved(name, folder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[name], b.visited[folder] = folder, true
}

func (b *bystanders) visits() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.visited)
}

// watch is a client of the quiet namespace who wants to hear of nothing, whatever goes on elsewhere: its machines are
// there in each list, under their uids, and none is ever said to be deleted.
func (b *bystanders) watch(ctx context.Context) {
	client := b.machines.Resource(supervisortest.Machines).Namespace(quiet)
	for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		list, err := client.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		got := map[string]string{}
		for _, item := range list.Items {
			got[item.GetName()] = string(item.GetUID())
		}
		if diff := cmp.Diff(b.served, got); diff != "" {
			b.wronged("a list of %s (-want +got):\n%s", quiet, diff)
		}
		events, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			continue
		}
		for event := range events.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if ok && (event.Type == watch.Deleted || event.Type == watch.Added) {
				b.wronged("a watch of %s: %s %s", quiet, event.Type, object.GetName())
			}
		}
		events.Stop()
	}
}

// poach is somebody who asks for a vSphere Namespace with limits that has the name of a pool of others.
func (b *bystanders) poach(ctx context.Context) {
	limit := int64(100)
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		_, err := b.namespaces.VsphereV1alpha1().Namespaces().Create(ctx, &v1alpha1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: bystander},
			Spec: v1alpha1.NamespaceSpec{Zones: []string{"cluster-a"}, Resources: v1alpha1.NamespaceResources{
				CPULimitMHz: &limit, MemoryLimit: resource.NewQuantity(1<<30, resource.BinarySI),
			}},
		}, metav1.CreateOptions{})
		if err == nil {
			b.wronged("a vSphere Namespace was accepted that takes the pool of others")
			return
		}
	}
}

// look returns what is wrong with what is of others.
func (b *bystanders) look(all *everything) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := slices.Clone(b.wrong)
	complain := func(format string, arguments ...any) { wrong = append(wrong, fmt.Sprintf(format, arguments...)) }
	for name, power := range b.before.power {
		folder := b.before.machines[name]
		if to, moved := b.at[name]; moved {
			folder = to
		}
		switch at, found := all.machines[name]; {
		case !found:
			complain("the machine %s of others was destroyed", name)
		case at != folder:
			complain("the machine %s of others lies in folder %s, and was put into %s", name, at, folder)
		case all.power[name] != power:
			complain("the machine %s of others is %s, and was %s", name, all.power[name], power)
		}
	}
	for name := range b.at {
		if _, found := all.machines[name]; !found {
			complain("the machine %s, which was moved to folder %s, was destroyed", name, b.at[name])
		}
	}
	at := "cluster-a/" + bystander
	if diff := cmp.Diff(b.before.pools[at], all.pools[at], cmp.AllowUnexported(poolState{})); diff != "" {
		complain("the pool of others (-before +after):\n%s", diff)
	}
	core := all.core[bystander]
	if core == nil || core.UID != b.namespace.UID || core.DeletionTimestamp != nil ||
		!maps.Equal(core.Annotations, b.namespace.Annotations) {
		complain("the Namespace of others: %+v", core)
	}
	if roles, quotas := all.roles[bystander], all.quotas[bystander]; len(roles)+len(quotas) > 0 {
		complain("the Namespace of others has RoleBindings %v and quotas %v", roles, quotas)
	}
	return append(wrong, b.shown(all)...)
}

// shown returns which machines are served where they do not lie, or not where they lie.
func (b *bystanders) shown(all *everything) (wrong []string) {
	folderOf := map[string]string{}
	for name, namespace := range all.namespaces {
		folderOf[namespace.Status.Folder] = name
	}
	servedIn := map[string][]string{}
	for namespace, names := range all.served {
		for _, name := range names {
			servedIn[name] = append(servedIn[name], namespace)
		}
	}
	for name, folder := range all.machines {
		var want []string
		if namespace, ok := folderOf[folder]; ok {
			want = []string{namespace}
		}
		if got := servedIn[name]; strings.HasPrefix(name, "wanderer-") && !slices.Equal(want, got) {
			wrong = append(wrong, fmt.Sprintf("the machine %s lies in folder %s, which is served as %v, and is served in %v",
				name, folder, want, got))
		}
	}
	return wrong
}

// in does something as a VI admin, in the datacenter.
func (k *killer) in(do func(ctx context.Context, b *vcentertest.Builder) error) bool {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	b, err := k.f.vcenter.Builder(ctx)
	if err == nil {
		defer b.Close(context.WithoutCancel(ctx))
		err = b.In(ctx, "DC0")
	}
	if err == nil {
		err = do(ctx, b)
	}
	if err != nil {
		k.log.Printf("VI admin: %v", err)
	}
	return err == nil
}
