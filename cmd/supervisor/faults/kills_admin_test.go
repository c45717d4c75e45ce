// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/ledger"
	vnsrecords "github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// aWhile is a time in which something is as it should not be.
func (k *killer) aWhile() {
	pause(k.t.Context(), time.Duration(100+k.random.IntN(1500))*time.Millisecond)
}

// takeTerm is another process that leads from now on, and dies at once: whoever led before ends.
func (k *killer) takeTerm(process.Status) bool {
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	records, done, err := k.f.records()
	if err == nil {
		defer done()
		_, err = records.NewTerm(ctx)
	}
	if err != nil {
		k.log.Printf("take a term: %v", err)
	}
	return err == nil
}

func finder(ctx context.Context, b *vcentertest.Builder) (*find.Finder, error) {
	f := find.NewFinder(b.Client.Client, false)
	datacenter, err := f.Datacenter(ctx, "DC0")
	if err != nil {
		return nil, err
	}
	return f.SetDatacenter(datacenter), nil
}

// rename renames a folder for a while.
func (k *killer) rename(path, name string) bool {
	return k.in(func(ctx context.Context, b *vcentertest.Builder) error {
		f, err := finder(ctx, b)
		if err != nil {
			return err
		}
		folder, err := f.Folder(ctx, path)
		if err != nil {
			return err
		}
		if err := finish(ctx)(folder.Rename(ctx, name)); err != nil {
			return err
		}
		k.aWhile()
		back := path[strings.LastIndexByte(path, '/')+1:]
		if err := finish(ctx)(folder.Rename(ctx, back)); err != nil &&
			!strings.Contains(err.Error(), "has already been deleted") {
			k.t.Errorf("rename %s back: %v", path, err)
		}
		return nil
	})
}

// finish waits for a task.
func finish(ctx context.Context) func(*object.Task, error) error {
	return func(task *object.Task, err error) error {
		if err != nil {
			return err
		}
		return task.WaitEx(ctx)
	}
}

// renameNamespaces renames the folder that holds all namespaces.
func (k *killer) renameNamespaces() bool { return k.rename("/DC0/vm/Namespaces", "Elsewhere") }

// renameFolder renames the folder of one namespace, to a name of its own or to that of a Namespace of others.
func (k *killer) renameFolder() bool {
	w, s := k.aSubject(func(s *subject) bool { return true })
	if s == nil {
		return false
	}
	defer w.turn.Unlock()
	name := s.name + "-renamed"
	if k.random.IntN(2) == 0 {
		name = bystander
	}
	k.log.Printf("rename the folder %s to %s", s.name, name)
	if !k.rename("/DC0/vm/Namespaces/"+s.name, name) {
		return false
	}
	waittest.Within(k.t, 3*time.Minute, "the folder is known again as "+s.name, func(ctx context.Context) error {
		if err := k.caughtUp(ctx); err != nil {
			return err
		}
		seen, err := k.seen(ctx, s.name)
		if err != nil || seen == s.name {
			return err
		}
		// It was renamed back while nobody looked on, and is taken for another folder until it is called as it was seen
		// last: that is what a VI admin is told to do, before it is renamed once more.
		k.log.Printf("the folder %s was seen last as %s", s.name, seen)
		k.rename("/DC0/vm/Namespaces/"+s.name, seen)
		return fmt.Errorf("it was seen as %s", seen)
	})
	return true
}

// caughtUp says whether the server has seen what happened in vCenter until now: it has once it serves a change that was
// made after that.
func (k *killer) caughtUp(ctx context.Context) error {
	var want types.VirtualMachinePowerState
	var failure error
	k.in(func(ctx context.Context, b *vcentertest.Builder) error {
		want, failure = k.switchMarker(ctx, b)
		return failure
	})
	if failure != nil {
		return failure
	}
	return again(ctx, 20*time.Second, func(ctx context.Context) error {
		served, err := k.others.machines.Resource(supervisortest.Machines).Namespace("team-a").Get(ctx, marker,
			metav1.GetOptions{})
		if err != nil {
			return err
		}
		got, _, err := unstructured.NestedString(served.Object, "status", "powerState")
		if err == nil && !strings.EqualFold(got, string(want)) {
			err = fmt.Errorf("the machine %s is %s, and is served as %s", marker, want, got)
		}
		return err
	})
}

// switchMarker switches the machine by which one sees how far the server is, and returns how it is then.
func (k *killer) switchMarker(ctx context.Context, b *vcentertest.Builder) (types.VirtualMachinePowerState, error) {
	f, err := finder(ctx, b)
	if err != nil {
		return "", err
	}
	vm, err := f.VirtualMachine(ctx, "/DC0/vm/Namespaces/team-a/"+marker)
	if err != nil {
		return "", err
	}
	power, err := vm.PowerState(ctx)
	if err != nil {
		return "", err
	}
	if power == types.VirtualMachinePowerStatePoweredOn {
		return types.VirtualMachinePowerStatePoweredOff, finish(ctx)(vm.PowerOff(ctx))
	}
	return types.VirtualMachinePowerStatePoweredOn, finish(ctx)(vm.PowerOn(ctx))
}

// seen is how the folder of a namespace was seen last, as it is written down; the name itself where nothing is.
func (k *killer) seen(ctx context.Context, name string) (string, error) {
	left, err := k.f.left(ctx, name)
	if err != nil {
		return "", err
	}
	records, done, err := k.f.records()
	if err != nil {
		return "", err
	}
	defer done()
	documents, err := (&ledger.Documents{Ledger: records, Kind: "vspherenamespaces"}).List(ctx)
	if err != nil {
		return "", err
	}
	for _, document := range documents {
		record, err := vnsrecords.Decode(document.Value)
		if err != nil {
			return "", err
		}
		if seen, found := record.Seen[record.Folder]; found && record.Folder.Value == left.folder {
			return seen.Name, nil
		}
	}
	return name, nil
}

// aSubject is one that lives and that nobody else does anything to until its worker's turn is given back.
func (k *killer) aSubject(which func(*subject) bool) (*killWorker, *subject) {
	for _, n := range k.random.Perm(len(k.workers)) {
		w := k.workers[n]
		w.turn.Lock()
		for _, s := range w.subjects {
			if s.created == yes && s.deleted == no && which(s) {
				return w, s
			}
		}
		w.turn.Unlock()
	}
	return nil, nil
}

// aFolder is the name of a folder that is a namespace.
func (k *killer) aFolder() string {
	name := "team-a"
	k.in(func(ctx context.Context, b *vcentertest.Builder) error {
		f, err := finder(ctx, b)
		if err != nil {
			return err
		}
		folders, err := f.FolderList(ctx, "/DC0/vm/Namespaces/*")
		if err != nil {
			return err
		}
		name = folders[k.random.IntN(len(folders))].Name()
		return nil
	})
	return name
}

// move moves a machine of others to a folder, or out of all.
func (k *killer) move() bool {
	name, target := fmt.Sprintf("wanderer-%d", k.random.IntN(wanderers)), "/DC0/vm/Infrastructure"
	if k.random.IntN(4) > 0 {
		target = "/DC0/vm/Namespaces/" + k.aFolder()
	}
	if strings.HasSuffix(target, "/"+quiet) {
		return false
	}
	return k.moveTo(name, target)
}

// rescue moves a machine out that is Pacific's, and is not when that is deleted which it was in.
func (k *killer) rescue() bool {
	w, s := k.aSubject(func(s *subject) bool { return len(s.ours) > 0 })
	if s == nil {
		return false
	}
	defer w.turn.Unlock()
	name := s.ours[0]
	if !k.moveTo(name, "/DC0/vm/Infrastructure") {
		return false
	}
	s.ours = s.ours[1:]
	return true
}

// moveTo moves a machine, wherever it is, and has it noted.
func (k *killer) moveTo(name, target string) bool {
	return k.in(func(ctx context.Context, b *vcentertest.Builder) error {
		f, err := finder(ctx, b)
		if err != nil {
			return err
		}
		folder, err := f.Folder(ctx, target)
		if err != nil {
			return err
		}
		machines, err := f.VirtualMachineList(ctx, "/DC0/vm/...")
		if err != nil {
			return err
		}
		at := slices.IndexFunc(machines, func(vm *object.VirtualMachine) bool { return vm.Name() == name })
		if at < 0 {
			return fmt.Errorf("there is no machine %s", name)
		}
		vm := machines[at]
		if err := finish(ctx)(folder.MoveInto(ctx, []types.ManagedObjectReference{vm.Reference()})); err != nil {
			return err
		}
		k.log.Printf("machine %s is moved to %s", name, target)
		k.others.moved(name, folder.Reference().Value)
		return nil
	})
}

// roles counts how often the Supervisor's role on a folder was taken away and given back: while the number is odd, it
// lacks one.
type roles struct{ changes atomic.Int64 }

// explain says whether a role that was away while a request was under way explains that it was refused. Whoever asks is
// told at once, as of any right that the Supervisor's account lacks: trying again helps no more than a VI admin does.
func (r *roles) explain(err error, before int64) bool {
	return strings.Contains(err.Error(), "lacks the privilege System.View") &&
		(before%2 == 1 || r.changes.Load() != before)
}

// takeRole takes the Supervisor's role on a folder away for a while.
func (k *killer) takeRole(path string) bool {
	k.roles.changes.Add(1)
	defer k.roles.changes.Add(1)
	if err := k.f.vcenter.TakeRole(path, k.f.account); err != nil {
		k.log.Printf("VI admin: %v", err)
		return false
	}
	k.log.Printf("no role on %s", path)
	k.aWhile()
	if err := k.f.vcenter.GiveRole(path, k.f.account); err != nil {
		// It was deleted meanwhile, and its permissions with it.
		k.log.Printf("VI admin: %v", err)
	}
	return true
}
