// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"log"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/memory"
)

// open opens the memory, and empties it where a vCenter died that was being made.
func (v *VCenter) open(dir string) error {
	store, err := memory.Open(dir)
	if err != nil {
		return err
	}
	v.memory = &memory.Recorder{Store: store, Companions: map[string]memory.Companion{}, Parts: map[string]memory.Part{}}
	if !store.Complete() {
		if err := store.Empty(); err != nil {
			return err
		}
	}
	v.dir = store.Datastores()
	return nil
}

// remembers has the memory hear of what changes, and says how often this vCenter was started before.
func (v *VCenter) remembers(registry *simulator.Registry) (starts int, err error) {
	if v.memory == nil {
		return 0, nil
	}
	v.memory.Registry = registry
	registry.AddHandler(v.memory)
	return v.memory.Begin()
}

// recall brings back what is remembered, false where nothing is.
func (v *VCenter) recall() (bool, error) {
	if v.memory == nil {
		return false, nil
	}
	v.memory.Companions["policies"] = v.policies
	v.memory.Companions["asleep"] = v.sleepers.asleep
	if v.guests != nil {
		v.memory.Companions["guest"] = v.guests
	}
	v.memory.Parts["policies"] = v.policies
	v.memory.Parts["modules"] = v.rest.modules
	v.memory.Parts["libraries"] = &libraryMemory{mux: v.service.ServeMux, items: &v.rest.items}
	if !v.memory.Store.Complete() {
		return false, nil
	}
	var lost []string
	var err error
	v.gate.take(true, func() {
		if lost, err = v.memory.Restore(); err == nil {
			v.resume()
		}
	})
	if len(lost) > 0 {
		log.Printf("the files of these virtual machines are gone, and so are they: %s", strings.Join(lost, ", "))
	}
	if err != nil {
		return false, fmt.Errorf("%w; without the directory %s vCenter begins anew", err, filepath.Dir(v.dir))
	}
	return true, nil
}

// remember has everything written that happens from now on.
func (v *VCenter) remember() {
	v.gate.take(false, func() { v.gate.memory = v.memory })
	v.remembering.Store(true)
}

// resume has what is beside the inventory know what was restored.
func (v *VCenter) resume() {
	ctx := v.inProcess()
	v.tracker.Finish()
	for _, entity := range ctx.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		for _, device := range vm.Config.Hardware.Device {
			if card, ok := device.(types.BaseVirtualEthernetCard); ok {
				v.macs.take(card.GetVirtualEthernetCard().MacAddress)
			}
		}
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			v.files.take(vm)
		}
		if vm.Runtime.ConnectionState == types.VirtualMachineConnectionStateInaccessible {
			v.tracker.Veil(vm.Self, true)
		}
		v.questions.resume(vm)
		v.servers.Look(&vm.VirtualMachine)
		if v.guests != nil {
			v.guests.Resume(ctx.Map, vm)
		}
	}
	content := ctx.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content
	manager := &authorizationManager{tracker: v.tracker,
		AuthorizationManager: ctx.Map.Get(*content.AuthorizationManager).(*simulator.AuthorizationManager)}
	for _, kind := range []string{"Folder", "VirtualMachine"} {
		for _, entity := range ctx.Map.All(kind) {
			manager.tell(ctx, entity.Reference())
		}
	}
}

// resume has a machine go on waiting for an answer. The task that waited with it is gone.
func (q *questions) resume(vm *simulator.VirtualMachine) {
	asked := vm.Runtime.Question
	if asked == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open[vm.Self] = &question{id: asked.Id, choices: len(asked.Choice.ChoiceInfo), answered: make(chan struct{})}
	if n, err := strconv.Atoi(asked.Id); err == nil {
		q.asked = max(q.asked, n)
	}
}

// rememberAnswer serves a call that may change what lies outside the inventory, and has that written before the answer
// goes out.
func (v *VCenter) rememberAnswer(call *arrival, next http.Handler, w http.ResponseWriter, r *http.Request) {
	outside := isREST(r.URL.Path) && call.Changes || strings.HasPrefix(call.Method, "Pbm") &&
		!strings.HasPrefix(call.Method, "PbmQuery") && !strings.HasPrefix(call.Method, "PbmRetrieve") &&
		!strings.HasPrefix(call.Method, "PbmCheck")
	if !v.remembering.Load() || !outside {
		next.ServeHTTP(w, r)
		return
	}
	answer := answers(next, r)
	if err := v.memory.CommitParts(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pass(w, answer, answer.Body.Bytes())
}
