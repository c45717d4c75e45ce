// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// spare is how many identifiers are left out after the death of a process: more than it can have given away without
// writing so.
const spare = 1000

// Begin counts a start and gives the registry's vCenter the identity that it has in this memory, or another one where it
// has none. It is called once, before anything is restored. Starts count from 0.
func (r *Recorder) Begin() (starts int, err error) {
	if text := r.Store.meta(keyStarts); text != "" {
		if starts, err = strconv.Atoi(text); err != nil {
			return 0, fmt.Errorf("read vCenter's memory: the number of starts: %w", err)
		}
	}
	instance := cmp.Or(r.Store.meta(keyInstance), uuid.NewString())
	service := r.Registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance)
	service.Content.About.InstanceUuid = instance
	return starts, r.Store.write(&batch{meta: map[string]string{keyStarts: strconv.Itoa(starts + 1),
		keyInstance: instance}})
}

// restored is an object that was read.
type restored struct {
	key    string
	text   []byte
	object mo.Reference
	beside map[string]json.RawMessage
}

// Restore puts what is in the store into the registry of a new vCenter, which has nothing yet. Of machines whose
// configuration file is gone the destruction had begun: it is over, and their names are returned.
func (r *Recorder) Restore() (names []string, err error) {
	all, err := r.read()
	if err != nil {
		return nil, err
	}
	all, lost, names := present(all)
	r.put(all)
	lists(r.Registry, all)
	if err := r.restoreEvents(); err != nil {
		return nil, err
	}
	if err := r.restoreCounter(); err != nil {
		return nil, err
	}
	for _, one := range all {
		if manager, ok := one.object.(*simulator.AuthorizationManager); ok {
			if err := setPermissions(manager, one.beside["permissions"]); err != nil {
				return nil, err
			}
		}
		for name, companion := range r.Companions {
			kept := one.beside[name]
			if kept == nil {
				continue
			}
			if err := companion.RecallOf(one.object, kept); err != nil {
				return nil, fmt.Errorf("read vCenter's memory: %s of %s: %w", name, one.key, err)
			}
		}
	}
	if err := r.restoreParts(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.changed = nil
	r.mu.Unlock()
	for _, machine := range lost {
		r.Mark(machine)
	}
	return names, r.Store.write(&batch{meta: map[string]string{keyClosed: "", keyRoot: r.Store.Datastores()}})
}

// read reads all objects, without a place in the registry. Where the memory lies elsewhere than before, what names the
// files of datastores is put right.
func (r *Recorder) read() (all []*restored, err error) {
	err = r.Store.each(objectBucket, func(key string, value []byte) error {
		if one := (&restored{key: key, text: value}); remembered(refOf(key)) {
			all = append(all, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read vCenter's memory: %w", err)
	}
	before, now := r.Store.meta(keyRoot), r.Store.Datastores()
	failures := make([]error, len(all))
	var workers sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				failures[i] = all[i].decode(r.Registry, before, now)
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()
	r.writing.Lock()
	defer r.writing.Unlock()
	r.written = make(map[string]uint64, len(all))
	for i, err := range failures {
		if err != nil {
			return nil, fmt.Errorf("read vCenter's memory: %s: %w", all[i].key, err)
		}
		r.written[all[i].key] = sumOf(all[i].text)
		all[i].text = nil
	}
	slices.SortFunc(all, func(a, b *restored) int {
		x, y := a.object.Reference(), b.object.Reference()
		return cmp.Or(cmp.Compare(rank(x.Type), rank(y.Type)), cmp.Compare(number(x), number(y)), cmp.Compare(x.Value, y.Value))
	})
	return all, nil
}

// rank has what others are part of come first.
func rank(kind string) int {
	switch {
	case many(kind):
		return 2
	case strings.HasPrefix(kind, "Host") && kind != "HostSystem":
		return 1
	}
	return 0
}

// number is what an identifier ends with, so that the order is that in which objects were made.
func number(ref types.ManagedObjectReference) int {
	n, _ := strconv.Atoi(ref.Value[strings.LastIndexByte(ref.Value, '-')+1:])
	return n
}

func (one *restored) decode(registry *simulator.Registry, before, now string) (err error) {
	if one.text, err = unpack(one.text); err != nil {
		return err
	}
	text := one.text
	if before != now && before != "" {
		text = bytes.ReplaceAll(text, []byte(before+"/"), []byte(now+"/"))
		one.text = text
	}
	ref := refOf(one.key)
	if begin := kinds[ref.Type]; begin != nil {
		one.object = begin()
	} else if one.object = registry.Get(ref); one.object == nil {
		return fmt.Errorf("there is no %s in this version", ref.Type)
	}
	one.beside, err = decode(text, one.object, ref.Type)
	return err
}

// present leaves out the machines whose files are gone, and their snapshots.
func present(all []*restored) (kept []*restored, lost []types.ManagedObjectReference, names []string) {
	datastores := map[types.ManagedObjectReference]*simulator.Datastore{}
	for _, one := range all {
		if datastore, ok := one.object.(*simulator.Datastore); ok {
			datastores[datastore.Self] = datastore
		}
	}
	gone := map[types.ManagedObjectReference]bool{}
	for _, one := range all {
		vm, ok := one.object.(*simulator.VirtualMachine)
		if !ok || vm.Config == nil {
			continue
		}
		var file object.DatastorePath
		file.FromString(vm.Config.Files.VmPathName)
		for _, ref := range vm.Datastore {
			datastore := datastores[ref]
			if datastore == nil || datastore.Name != file.Datastore {
				continue
			}
			if _, err := os.Stat(filepath.Join(datastore.Info.GetDatastoreInfo().Url, file.Path)); os.IsNotExist(err) {
				gone[vm.Self] = true
				names = append(names, vm.Name)
			}
		}
	}
	kept = slices.DeleteFunc(all, func(one *restored) bool {
		snapshot, ok := one.object.(*simulator.VirtualMachineSnapshot)
		over := gone[one.object.Reference()] || ok && gone[snapshot.Vm]
		if over {
			lost = append(lost, one.object.Reference())
		}
		return over
	})
	return kept, lost, names
}

// put has the registry know objects, and those of a host which that is.
func (r *Recorder) put(all []*restored) {
	hosts := map[types.ManagedObjectReference]*simulator.HostSystem{}
	for _, one := range all {
		if host, ok := one.object.(*simulator.HostSystem); ok {
			manager := host.ConfigManager
			for _, ref := range []*types.ManagedObjectReference{manager.DatastoreSystem, manager.NetworkSystem,
				manager.VirtualNicManager, manager.StorageSystem, manager.CertificateManager, manager.AdvancedOption} {
				if ref != nil {
					hosts[*ref] = host
				}
			}
		}
	}
	for _, one := range all {
		host := hosts[one.object.Reference()]
		switch o := one.object.(type) {
		case *simulator.HostDatastoreSystem:
			o.Host = &host.HostSystem
		case *simulator.HostNetworkSystem:
			o.Host = &host.HostSystem
		case *simulator.HostVirtualNicManager:
			o.Host = &host.HostSystem
		case *simulator.HostCertificateManager:
			o.Host = &host.HostSystem
		case *simulator.HostStorageSystem:
			// Its list of adapters is of every host.
			made := simulator.NewHostStorageSystem(&host.HostSystem)
			made.HostStorageSystem = o.HostStorageSystem
			one.object = made
		case *simulator.OptionManager:
			self := o.Self
			one.object = simulator.NewOptionManager(&self, nil, &host.Config.Option).(*simulator.OptionManager)
		}
		if kinds[one.object.Reference().Type] != nil {
			r.Registry.Put(one.object)
		}
	}
}

// lists fills the lists that follow from what objects say of themselves.
func lists(registry *simulator.Registry, all []*restored) {
	for _, one := range all {
		entity, ok := one.object.(mo.Entity)
		if !ok {
			continue
		}
		ref := one.object.Reference()
		if parent := entity.Entity().Parent; parent != nil {
			list := "ChildEntity"
			if parent.Type == "ResourcePool" || parent.Type == "VirtualApp" {
				list = "ResourcePool"
			}
			add(registry, *parent, list, ref)
		}
		vm, ok := one.object.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		for _, in := range vm.Datastore {
			add(registry, in, "Vm", ref)
		}
		for _, in := range []*types.ManagedObjectReference{vm.Runtime.Host, vm.ResourcePool} {
			if in != nil {
				add(registry, *in, "Vm", ref)
			}
		}
	}
}

// add puts a reference into a list of an object that has such a one.
func add(registry *simulator.Registry, to types.ManagedObjectReference, list string,
	ref types.ManagedObjectReference) {
	found := registry.Get(to)
	if found == nil || !slices.Contains(follows[to.Type], list) {
		return
	}
	field := properties(found).FieldByName(list).Addr().Interface().(*[]types.ManagedObjectReference)
	*field = append(*field, ref)
}

func (r *Recorder) restoreEvents() error {
	manager := r.Registry.EventManager()
	ctx := &simulator.Context{Context: context.Background(), Map: r.Registry}
	var failure error
	ctx.WithLock(manager, func() {
		page, key := history(manager)
		failure = r.Store.each(eventBucket, func(_ string, value []byte) error {
			text, err := unpack(value)
			if err != nil {
				return err
			}
			var event types.BaseEvent
			if err := read(text, &event); err != nil {
				return fmt.Errorf("an event: %w", err)
			}
			page.PushBack(event)
			*key = event.GetEvent().Key
			return nil
		})
		r.told = *key
	})
	if failure != nil {
		return fmt.Errorf("read vCenter's memory: %w", failure)
	}
	return nil
}

func (r *Recorder) restoreCounter() error {
	counted, err := strconv.ParseInt(r.Store.meta(keyCounter), 10, 64)
	if err != nil {
		return fmt.Errorf("read vCenter's memory: the counter of identifiers: %w", err)
	}
	if r.Store.meta(keyClosed) == "" {
		counted += spare
	}
	setCounter(r.Registry, max(counted, counter(r.Registry)))
	return nil
}

func (r *Recorder) restoreParts() error {
	err := r.Store.each(partBucket, func(name string, value []byte) error {
		text, err := unpack(value)
		if part := r.Parts[name]; err == nil && part != nil {
			err = part.Recall(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read vCenter's memory: %w", err)
	}
	return nil
}
