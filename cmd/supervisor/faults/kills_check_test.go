// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/ledger"
)

// killCheck holds what there is, everywhere, against what was accepted.
type killCheck struct {
	t          *testing.T
	f          *faulty
	subjects   []*subject
	others     *bystanders
	namespaces versioned.Interface
	core       kubernetes.Interface
	machines   dynamic.Interface
}

func newKillCheck(t *testing.T, f *faulty, subjects []*subject, others *bystanders) *killCheck {
	t.Helper()
	config := f.Config(t)
	return &killCheck{
		t: t, f: f, subjects: subjects, others: others,
		namespaces: versioned.NewForConfigOrDie(config), core: kubernetes.NewForConfigOrDie(config),
		machines: dynamic.NewForConfigOrDie(config),
	}
}

// until looks until nothing is wrong, or the time is over: then it returns what is.
func (c *killCheck) until(within time.Duration) (wrong []string, err error) {
	deadline := time.Now().Add(within)
	for {
		if wrong, err = c.look(c.t.Context()); err == nil && len(wrong) == 0 || time.Now().After(deadline) {
			return wrong, err
		}
		pause(c.t.Context(), 500*time.Millisecond)
	}
}

// poolState is a resource pool: where it lies and what it may take.
type poolState struct {
	id          string
	cpu, memory int64
	reserved    int64 // of both
	machines    int
}

// everything is all that could be left over.
type everything struct {
	namespaces map[string]*v1alpha1.Namespace
	core       map[string]*corev1.Namespace
	roles      map[string][]string          // what RoleBindings of ours say, by namespace
	served     map[string][]string          // machines, by namespace
	folders    map[string]string            // ids of those in the namespaces folder, by name
	pools      map[string]poolState         // those directly in a cluster's, as cluster/name
	machines   map[string]string            // ids of the folders they lie in, by name
	power      map[string]string            // of machines, by name
	quotas     map[string][]string          // names of ResourceQuotas, by namespace
	visited    map[string]bool              // ids of the folders that machines of others were moved through
	records    map[string]ledger.Document   // by uid
	detached   map[string]ledger.Detachment // by the folder's id in vCenter
}

func (c *killCheck) everything(ctx context.Context) (*everything, error) {
	all := &everything{
		namespaces: map[string]*v1alpha1.Namespace{}, core: map[string]*corev1.Namespace{}, roles: map[string][]string{},
		served: map[string][]string{}, folders: map[string]string{}, pools: map[string]poolState{},
		machines: map[string]string{}, power: map[string]string{}, quotas: map[string][]string{}, visited: c.others.visits(),
	}
	return all, errors.Join(c.inKubernetes(ctx, all), c.inVCenter(ctx, all), c.inEtcd(ctx, all))
}

func (c *killCheck) inKubernetes(ctx context.Context, all *everything) error {
	namespaces, err := c.namespaces.VsphereV1alpha1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range namespaces.Items {
		all.namespaces[namespaces.Items[i].Name] = &namespaces.Items[i]
	}
	core, err := c.core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range core.Items {
		all.core[core.Items[i].Name] = &core.Items[i]
	}
	bindings, err := c.core.RbacV1().RoleBindings("").List(ctx,
		metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=pacific"})
	if err != nil {
		return err
	}
	for _, binding := range bindings.Items {
		for _, subject := range binding.Subjects {
			all.roles[binding.Namespace] = append(all.roles[binding.Namespace],
				fmt.Sprintf("%s %s: %s", subject.Kind, subject.Name, binding.RoleRef.Name))
		}
	}
	quotas, err := c.core.CoreV1().ResourceQuotas("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, quota := range quotas.Items {
		all.quotas[quota.Namespace] = append(all.quotas[quota.Namespace], quota.Name)
	}
	served, err := c.machines.Resource(supervisortest.Machines).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, machine := range served.Items {
		all.served[machine.GetNamespace()] = append(all.served[machine.GetNamespace()], machine.GetName())
	}
	return nil
}

func (c *killCheck) inVCenter(ctx context.Context, all *everything) error {
	client, err := c.f.vcenter.Client(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(context.WithoutCancel(ctx)) }()
	var folders []mo.Folder
	var pools []mo.ResourcePool
	var clusters []mo.ClusterComputeResource
	var vms []mo.VirtualMachine
	for _, kind := range []struct {
		name  string
		paths []string
		into  any
	}{
		{"Folder", []string{"name", "parent"}, &folders},
		{"ResourcePool", []string{"name", "parent", "owner", "vm", "config"}, &pools},
		{"ClusterComputeResource", []string{"name", "resourcePool"}, &clusters},
		{"VirtualMachine", []string{"name", "parent", "runtime.powerState"}, &vms},
	} {
		found, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder,
			[]string{kind.name}, true)
		if err != nil {
			return err
		}
		err = found.Retrieve(ctx, []string{kind.name}, kind.paths, kind.into)
		if err := errors.Join(err, found.Destroy(ctx)); err != nil {
			return err
		}
	}
	root := ""
	for _, folder := range folders {
		if folder.Name == "Namespaces" {
			root = folder.Self.Value
		}
	}
	for _, folder := range folders {
		if folder.Parent != nil && folder.Parent.Value == root {
			all.folders[folder.Name] = folder.Self.Value
		}
	}
	for _, cluster := range clusters {
		for _, pool := range pools {
			if pool.Parent != nil && *pool.Parent == *cluster.ResourcePool {
				all.pools[cluster.Name+"/"+pool.Name] = poolState{
					id: pool.Self.Value, cpu: *pool.Config.CpuAllocation.Limit, memory: *pool.Config.MemoryAllocation.Limit,
					machines: len(pool.Vm),
					reserved: *pool.Config.CpuAllocation.Reservation + *pool.Config.MemoryAllocation.Reservation,
				}
			}
		}
	}
	for _, vm := range vms {
		all.machines[vm.Name], all.power[vm.Name] = vm.Parent.Value, string(vm.Runtime.PowerState)
	}
	return nil
}

// records are what Pacific keeps in etcd.
func (f *faulty) records() (records *ledger.Ledger, done func(), err error) {
	ports, err := f.Dir.ReadPorts()
	if err != nil {
		return nil, nil, err
	}
	pki := f.Dir.PKI()
	client, err := ledger.Dial(ledger.Server{
		Endpoints: []string{"https://127.0.0.1:" + strconv.Itoa(ports["etcd"])}, CAFile: filepath.Join(pki, "etcd-ca.crt"),
		CertFile: filepath.Join(pki, "supervisor-etcd-client.crt"), KeyFile: filepath.Join(pki, "supervisor-etcd-client.key"),
	})
	if err != nil {
		return nil, nil, err
	}
	return &ledger.Ledger{Client: client, Prefix: "/pacific", Clock: clock.RealClock{}}, func() { _ = client.Close() }, nil
}

func (c *killCheck) inEtcd(ctx context.Context, all *everything) error {
	records, done, err := c.f.records()
	if err != nil {
		return err
	}
	defer done()
	if all.records, err = (&ledger.Documents{Ledger: records, Kind: "vspherenamespaces"}).List(ctx); err != nil {
		return err
	}
	detached, err := records.Detachments(ctx)
	all.detached = map[string]ledger.Detachment{}
	for id, detachment := range detached {
		all.detached[path.Base(id)] = detachment
	}
	return err
}

// look returns what is wrong now.
func (c *killCheck) look(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all, err := c.everything(ctx)
	if err != nil {
		return nil, err
	}
	var wrong []string
	expected := map[string]bool{"team-a": true, "team-b": true}
	uids := map[string]bool{}
	for _, s := range c.subjects {
		namespace := all.namespaces[s.name]
		lives := s.created == yes
		if s.created == maybe || s.deleted == maybe {
			lives = namespace != nil && namespace.DeletionTimestamp == nil
		}
		problems := s.gone(all)
		if lives && s.deleted != yes {
			problems = s.wholly(all)
			expected[s.name] = true
		}
		for _, name := range s.foreign {
			if folder := all.machines[name]; folder == "" || folder != all.folders[s.name] {
				problems = append(problems, fmt.Sprintf("the machine %s of others lies in folder %q, not in %q", name, folder,
					all.folders[s.name]))
			}
		}
		if len(s.foreign) > 0 {
			expected[s.name] = true
		}
		for _, problem := range problems {
			wrong = append(wrong, fmt.Sprintf("%s (created %d, deleted %d): %s", s.name, s.created, s.deleted, problem))
		}
	}
	for _, namespace := range all.namespaces {
		uids[string(namespace.UID)] = true
	}
	ids := map[string]bool{}
	for name, id := range all.folders {
		ids[id] = true
		if !expected[name] && !all.occupied(name) && !all.visited[id] {
			wrong = append(wrong, fmt.Sprintf("the folder %s is left over", name))
		}
	}
	for at, pool := range all.pools {
		if _, name, _ := strings.Cut(at, "/"); !expected[name] && pool.machines == 0 {
			wrong = append(wrong, fmt.Sprintf("the pool %s is left over", at))
		}
	}
	wrong = append(wrong, c.others.look(all)...)
	for uid, record := range all.records {
		if !uids[uid] {
			wrong = append(wrong, fmt.Sprintf("the record %s is left over: %s", uid, record.Value))
		}
	}
	for folder, detachment := range all.detached {
		if !ids[folder] {
			wrong = append(wrong, fmt.Sprintf("it is recorded that folder %s of %s is detached, and it is gone", folder,
				detachment.Namespace))
		}
	}
	return wrong, nil
}

// occupied says whether a machine lies in the folder of a name.
func (all *everything) occupied(name string) bool {
	for _, folder := range all.machines {
		if folder == all.folders[name] {
			return true
		}
	}
	return false
}

// gone returns what is left of one that was deleted, or that never came to be.
func (s *subject) gone(all *everything) []string {
	var left []string
	if namespace := all.namespaces[s.name]; namespace != nil {
		left = append(left, fmt.Sprintf("it is there: %+v", namespace.Status))
	}
	if core := all.core[s.name]; core != nil {
		left = append(left, fmt.Sprintf("its Kubernetes Namespace is there: %s, %+v", core.Annotations, core.Status))
	}
	if roles := all.roles[s.name]; len(roles) > 0 {
		left = append(left, fmt.Sprintf("its RoleBindings are there: %v", roles))
	}
	for _, name := range s.ours {
		if _, found := all.machines[name]; found {
			left = append(left, fmt.Sprintf("the machine %s, which Pacific made, is there; served are %v", name,
				all.served[s.name]))
		}
	}
	if folder, found := all.folders[s.name]; found {
		switch _, detached := all.detached[folder]; {
		case !all.occupied(s.name) && detached && all.visited[folder]:
			// What lay there when it was deleted has moved on since.
		case !all.occupied(s.name):
			left = append(left, fmt.Sprintf("its folder %s is there, and empty", folder))
		case !detached:
			left = append(left, fmt.Sprintf("its folder %s is there, and not detached", folder))
		}
	}
	for _, zone := range []string{"cluster-a", "cluster-b"} {
		if pool, found := all.pools[zone+"/"+s.name]; found && pool.machines == 0 {
			left = append(left, fmt.Sprintf("its pool %s in %s is there, and empty", pool.id, zone))
		}
	}
	return left
}

// wholly returns what is missing of one that was accepted.
func (s *subject) wholly(all *everything) []string {
	namespace, core := all.namespaces[s.name], all.core[s.name]
	if namespace == nil || core == nil {
		return []string{fmt.Sprintf("it is there: %t, and its Kubernetes Namespace: %t", namespace != nil, core != nil)}
	}
	var missing []string
	if namespace.Status.Phase != v1alpha1.NamespaceRunning ||
		!meta.IsStatusConditionTrue(namespace.Status.Conditions, v1alpha1.NamespaceConditionReady) {
		missing = append(missing, fmt.Sprintf("it is not ready: %+v", namespace.Status))
	}
	if folder := all.folders[s.name]; folder == "" || folder != namespace.Status.Folder {
		missing = append(missing, fmt.Sprintf("its folder is %q, and in vCenter there is %q", namespace.Status.Folder,
			folder))
	}
	if _, detached := all.detached[namespace.Status.Folder]; detached {
		missing = append(missing, "its folder is detached")
	}
	if _, found := all.records[string(namespace.UID)]; !found {
		missing = append(missing, "it has no record")
	}
	var differences []string
	for _, wish := range s.wishes {
		difference := cmp.Diff(wish.state(s.name, all), stateOf(namespace, core, all))
		if difference == "" {
			differences = nil
			break
		}
		differences = append(differences, difference)
	}
	if len(differences) > 0 {
		missing = append(missing, fmt.Sprintf("it is not as the last of %d wishes (-want +got):\n%s", len(differences),
			differences[len(differences)-1]))
	}
	for _, name := range slices.Concat(s.foreign, s.ours) {
		if !slices.Contains(all.served[s.name], name) {
			missing = append(missing, fmt.Sprintf("the machine %s is not served", name))
		}
	}
	return missing
}

// namespaceState is what follows of a wish, or is.
type namespaceState struct {
	Spec        v1alpha1.NamespaceSpec
	CPU, Memory int64 // of all pools
	Pools       map[string]string
	Annotations map[string]string
	Roles       []string
}

func (w wish) state(name string, all *everything) namespaceState {
	state := namespaceState{Spec: w.spec(), CPU: w.cpuLimitMHz, Memory: w.memoryMiB, Pools: map[string]string{},
		Annotations: map[string]string{
			"vmware-system-vm-folder":                  all.folders[name],
			"vmware-system-resource-pool":              all.pools["cluster-a/"+name].id,
			"vmware-system-resource-pool-cpu-limit":    fmt.Sprintf("%d.%04d", w.cpuLimitMHz/1000, w.cpuLimitMHz%1000*10),
			"vmware-system-resource-pool-memory-limit": w.spec().Resources.MemoryLimit.String(),
		}}
	for _, zone := range w.zones {
		state.Pools[zone] = all.pools[zone+"/"+name].id
	}
	for _, entry := range w.access {
		state.Roles = append(state.Roles, fmt.Sprintf("%s sso:%s: %s", entry.Kind, entry.Name, entry.Role.ClusterRoleName()))
	}
	slices.Sort(state.Roles)
	return state
}

func stateOf(namespace *v1alpha1.Namespace, core *corev1.Namespace, all *everything) namespaceState {
	state := namespaceState{Spec: *namespace.Spec.DeepCopy(), Pools: map[string]string{}, Annotations: map[string]string{},
		Roles: slices.Sorted(slices.Values(all.roles[namespace.Name]))}
	for _, zone := range namespace.Status.Zones {
		state.Pools[zone.Name] = zone.ResourcePool
	}
	for _, zone := range []string{"cluster-a", "cluster-b"} {
		pool := all.pools[zone+"/"+namespace.Name]
		state.CPU += pool.cpu
		state.Memory += pool.memory
	}
	for key, value := range core.Annotations {
		if strings.HasPrefix(key, "vmware-system-") {
			state.Annotations[key] = value
		}
	}
	return state
}
