// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	vapi "github.com/vmware/govmomi/vapi/vcenter"
	"github.com/vmware/govmomi/vim25/types"
)

const libraryTemplatePath = "/rest/vcenter/vm-template/library-items"

// libraryTemplates are the items of content libraries that stand for virtual machine templates of the inventory. The
// simulator makes a template that has lost its firmware, its options and its properties, and an item without a version, and
// tells nothing of either.
type libraryTemplates struct {
	inProcess func() *simulator.Context
	// enter has something done while nothing else changes the inventory.
	enter func(func())
	items *libraryItems
}

// serve says whether a request was for it, which it has answered then.
func (t *libraryTemplates) serve(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) bool {
	id, isItem := strings.CutPrefix(r.URL.Path, libraryTemplatePath+"/")
	switch {
	case r.URL.Path == libraryTemplatePath && r.Method == http.MethodPost:
		t.create(mux, w, r)
	case isItem && r.Method == http.MethodGet && !strings.Contains(id, "/"):
		t.tell(mux, w, r, id)
	default:
		return false
	}
	return true
}

// create has the simulator make an item of a machine that is in the inventory, of which it clones the template.
func (t *libraryTemplates) create(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var asked struct {
		vapi.Template `json:"spec"`
	}
	body, ok := readAgain(r)
	if !ok || json.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	ctx := t.inProcess()
	source, ok := ctx.Map.Get(machineRef(asked.SourceVM)).(*simulator.VirtualMachine)
	if !ok || asked.Placement == nil || asked.Placement.Folder == "" {
		http.Error(w, `{"type":"com.vmware.vapi.std.errors.not_found","value":{"messages":[]}}`, http.StatusNotFound)
		return
	}
	answer := answers(mux, r)
	var made struct {
		Value string `json:"value"`
	}
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &made) != nil {
		pass(w, answer, answer.Body.Bytes())
		return
	}
	endpoint, _ := mux.Handler(r)
	id := t.items.rename(endpoint, made.Value)
	var ref types.ManagedObjectReference
	inItem(endpoint, id, func(item *library.Item, template *types.ManagedObjectReference) {
		now := types.NewTime(time.Now())
		item.ContentVersion, item.MetadataVersion, item.CreationTime, item.LastModifiedTime = "1", "1", now, now
		if asked.Description != "" {
			item.Description = &asked.Description
		}
		ref = *template
	})
	if clone, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine); ok {
		t.enter(func() { inherit(ctx, source, clone, identifier("template", id).String()) })
	}
	answered, _ := json.Marshal(map[string]string{"value": id})
	pass(w, answer, answered)
}

// inherit gives a clone what the simulator's lack of their source, and an identifier that is the same at each start.
func inherit(ctx *simulator.Context, source, clone *simulator.VirtualMachine, id string) {
	var changes []types.PropertyChange
	ctx.WithLock(source, func() {
		changes = []types.PropertyChange{
			{Name: "config.firmware", Val: source.Config.Firmware}, {Name: "config.bootOptions", Val: source.Config.BootOptions},
			{Name: "config.annotation", Val: source.Config.Annotation}, {Name: "config.createDate", Val: source.Config.CreateDate},
			{Name: "config.instanceUuid", Val: id}, {Name: "summary.config.instanceUuid", Val: id},
			{Name: "config.uuid", Val: id}, {Name: "summary.config.uuid", Val: id},
			{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)},
		}
		if source.Config.VAppConfig != nil {
			changes = append(changes, types.PropertyChange{Name: "config.vAppConfig", Val: source.Config.VAppConfig})
		}
	})
	ctx.WithLock(clone, func() { ctx.Update(clone, changes) })
}

// tell answers which template an item stands for, and what that is like.
func (t *libraryTemplates) tell(mux *http.ServeMux, w http.ResponseWriter, r *http.Request, id string) {
	answer := answers(mux, r) // which knows whether somebody is logged in, and whether there is the item
	if answer.Code != http.StatusOK {
		pass(w, answer, answer.Body.Bytes())
		return
	}
	ctx := t.inProcess()
	endpoint, _ := mux.Handler(r)
	var ref types.ManagedObjectReference
	inItem(endpoint, id, func(_ *library.Item, template *types.ManagedObjectReference) {
		if template != nil {
			ref = *template
		}
	})
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		http.Error(w, `{"type":"com.vmware.vapi.std.errors.resource_inaccessible","value":{"messages":[]}}`,
			http.StatusInternalServerError)
		return
	}
	info := vapi.TemplateInfo{VmTemplate: ref.Value}
	ctx.WithLock(vm, func() {
		info.GuestOS = strings.ToUpper(vm.Config.GuestId)
		info.CPU.Count = int(vm.Config.Hardware.NumCPU)
		info.Memory.SizeMB = int(vm.Config.Hardware.MemoryMB)
		for _, device := range object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
			disk := device.(*types.VirtualDisk)
			info.Disks = append(info.Disks, vapi.Disks{Key: strconv.Itoa(int(disk.Key)),
				Value: &vapi.DiskInfo{Capacity: int(disk.CapacityInBytes)}})
		}
	})
	told, _ := json.Marshal(map[string]any{"value": info})
	pass(w, answer, told)
}

// inItem looks at an item of the simulator of the REST endpoints, and at the template that it stands for, nil for none.
func inItem(endpoint http.Handler, id string, look func(*library.Item, *types.ManagedObjectReference)) {
	inLibraries(endpoint, func(content reflect.Value) bool {
		item := content.FieldByName("Item").MapIndex(reflect.ValueOf(id))
		if item.IsValid() {
			look(item.Elem().FieldByName("Item").Interface().(*library.Item),
				item.Elem().FieldByName("Template").Interface().(*types.ManagedObjectReference))
		}
		return item.IsValid()
	})
}

func machineRef(value string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VirtualMachine", Value: value}
}

// LibraryTemplate is the virtual machine template that an item of a content library stands for, zero where there is none.
func (v *VCenter) LibraryTemplate(id string) (ref types.ManagedObjectReference) {
	inItem(v.libraries(), id, func(_ *library.Item, template *types.ManagedObjectReference) {
		if template != nil {
			ref = *template
		}
	})
	return ref
}

// addTemplate makes an item of a machine, of which nothing but the template stays.
func (b *Builder) addTemplate(ctx context.Context, client *rest.Client, libraryID string, item LibraryItem) error {
	vm := *item.Template
	vm.Name = item.Name + "-source"
	source, err := b.VirtualMachine(ctx, vm)
	if err != nil {
		return err
	}
	folder, err := b.finder.Folder(ctx, path.Join(b.folders.VmFolder.InventoryPath, vm.Folder))
	if err != nil {
		return err
	}
	pool, err := b.finder.ResourcePool(ctx, path.Join(vm.Cluster, "Resources", vm.Pool))
	if err != nil {
		return err
	}
	_, err = vapi.NewManager(client).CreateTemplate(ctx, vapi.Template{
		Name: item.Name, Description: item.Description, Library: libraryID, SourceVM: source.Reference().Value,
		Placement: &vapi.Placement{Folder: folder.Reference().Value, ResourcePool: pool.Reference().Value},
	})
	if err != nil {
		return err
	}
	task, err := source.Destroy(ctx)
	if err != nil {
		return err
	}
	return task.WaitEx(ctx)
}

// readAgain reads the body of a request, which can be read once more then.
func readAgain(r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, err == nil
}
