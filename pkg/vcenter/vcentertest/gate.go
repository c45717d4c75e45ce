// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"log"
	"net/http"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/memory"
)

// gate lets in one call at a time that changes something, with the tasks that it starts. The simulator locks the object
// that is called and little else: two tasks on two machines reach the same datastore, host, pool and folder, one
// reading without a lock what the other writes under one. Reads go past the gate; they take the lock of what they read.
type gate struct {
	turn sync.Mutex // held from the beginning of a call until its last task has ended
	// memory, if not nil, has what an act has changed written at its end: everything, or what was told of alone.
	memory *memory.Recorder
	whole  bool // of the act whose turn it is

	mu      sync.Mutex                                                    // guards what follows
	running map[types.ManagedObjectReference]types.ManagedObjectReference // by task, what it is about
	ended   chan struct{}                                                 // closed when the last of those that run ends
	// claimed counts the calls of an object that have come and have no task yet.
	claimed map[types.ManagedObjectReference]int
}

func newGate() *gate {
	return &gate{
		running: map[types.ManagedObjectReference]types.ManagedObjectReference{},
		claimed: map[types.ManagedObjectReference]int{},
	}
}

// claim notes a call of an object that will have a task, until release is called, once or more. It says whether there
// is another, or a task that runs.
func (g *gate) claim(object types.ManagedObjectReference) (others bool, release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	others = g.claimed[object] > 0
	for _, about := range g.running {
		others = others || about == object
	}
	g.claimed[object]++
	return others, sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.claimed[object]--; g.claimed[object] == 0 {
			delete(g.claimed, object)
		}
	})
}

// serve hands on a call that is not for the gate, or when its turn has come.
func (g *gate) serve(call *arrival, next http.Handler, w http.ResponseWriter, r *http.Request) {
	rest := isREST(r.URL.Path)
	if rest && (r.Method != http.MethodPost || !deploys(r.URL.Path)) || !rest && !call.Changes {
		next.ServeHTTP(w, r)
		return
	}
	if licensed(call.Method) {
		licence.RLock()
		defer licence.RUnlock()
	}
	release := func() {}
	if call.this.Type == "VirtualMachine" && hasTask(call.Method) {
		call.overlaps, release = g.claim(call.this)
	}
	g.take(beyondMachines(call), func() {
		defer release() // also when a test breaks the connection off
		next.ServeHTTP(w, r)
		release()
		g.answers(call)
		// The answer names a task that may run for long.
		_ = http.NewResponseController(w).Flush()
	})
}

// enter calls f, which changes machines alone, when its turn has come, and returns when all tasks that it started have
// ended.
func (g *gate) enter(f func()) { g.take(false, f) }

// take calls f when its turn has come. With whole it may change anything.
func (g *gate) take(whole bool, f func()) {
	g.turn.Lock()
	defer g.turn.Unlock()
	g.whole = whole
	f()
	g.wait()
	if g.memory != nil {
		if err := g.memory.Commit(whole); err != nil {
			log.Printf("%v", err)
		}
	}
}

// answers writes what a call has changed that has no task, before its answer goes out. What cannot be written now is
// tried again at the end of its turn.
func (g *gate) answers(call *arrival) {
	if g.memory == nil {
		return
	}
	g.memory.Mark(call.this)
	g.mu.Lock()
	runs := len(g.running) > 0
	g.mu.Unlock()
	if !runs && !hasTask(call.Method) {
		_ = g.memory.Commit(g.whole)
	}
}

// endsAlone writes what an act has changed, when a task has done its work and no other runs.
func (g *gate) endsAlone(task *simulator.Task) error {
	if g.memory == nil {
		return nil
	}
	g.memory.Mark(*task.Info.Entity)
	g.mu.Lock()
	_, runs := g.running[task.Self]
	alone := runs && len(g.running) == 1
	g.mu.Unlock()
	if !alone {
		return nil
	}
	return g.memory.Commit(g.whole)
}

// beyondMachines says whether a call may change other things than machines and what it is made of.
func beyondMachines(call *arrival) bool {
	switch call.this.Type {
	case "VirtualMachine", "VirtualMachineSnapshot", "VirtualDiskManager", "FileManager":
		return false
	}
	switch call.Method {
	case "CreateVM_Task", "MoveIntoFolder_Task", "RegisterVM_Task":
		return false
	}
	return true
}

// wait returns when no task runs any more.
func (g *gate) wait() {
	g.mu.Lock()
	var ended chan struct{}
	if len(g.running) > 0 {
		if g.ended == nil {
			g.ended = make(chan struct{})
		}
		ended = g.ended
	}
	g.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Reference implements simulator.RegisterObject.
func (*gate) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VcentertestGate", Value: "gate"}
}

// PutObject implements simulator.RegisterObject: it sees each task before that runs. Those that only an extension says
// something about run nowhere, and those that wait for somebody's answer come to the gate by themselves.
func (g *gate) PutObject(_ *simulator.Context, o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok || task.Execute == nil || waitsForAnswer(task) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[task.Self] = *task.Info.Entity
}

// UpdateObject implements simulator.RegisterObject.
func (g *gate) UpdateObject(_ *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	task, ok := o.(*mo.Task)
	if !ok || task.Info.State != types.TaskInfoStateSuccess && task.Info.State != types.TaskInfoStateError {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, task.Self)
	if len(g.running) == 0 && g.ended != nil {
		close(g.ended)
		g.ended = nil
	}
}

// RemoveObject implements simulator.RegisterObject.
func (*gate) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// changes says whether a method changes the inventory or what belongs to it. What it says no to reads, or changes what
// is the session's own.
func changes(method string) bool {
	switch method {
	case "CreateFolder", "CreateDatacenter", "CreateCluster", "CreateClusterEx", "CreateStoragePod",
		"CreateResourcePool", "CreateVApp", "DestroyChildren", "UpdateConfig",
		"UpdateChildResourceConfiguration", "UnregisterVM", "UnregisterVApp", "ImportVApp",
		"MarkAsTemplate", "MarkAsVirtualMachine", "ShutdownGuest", "StandbyGuest", "RebootGuest",
		"RefreshStorageInfo", "MakeDirectory", "DeleteFile", "RefreshDatastore", "CreateLocalDatastore",
		"CreateNasDatastore", "CreateVmfsDatastore", "RemoveDatastore", "SetCustomValue", "SetField",
		"SetEntityPermissions", "ResetEntityPermissions", "RemoveEntityPermission", "AddPortGroup",
		"RemovePortGroup", "AddVirtualSwitch", "RemoveVirtualSwitch", "HttpNfcLeaseComplete",
		"HttpNfcLeaseAbort", "AddAuthorizationRole", "UpdateAuthorizationRole", "RemoveAuthorizationRole",
		"AddCustomFieldDef", "RenameCustomFieldDef", "RemoveCustomFieldDef", "RegisterExtension", "UpdateExtension",
		"UnregisterExtension":
		return true
	}
	return strings.HasSuffix(method, "_Task")
}

// licensed says whether a method adds what the simulator gives a licence to.
func licensed(method string) bool {
	switch method {
	case "CreateCluster", "CreateClusterEx", "AddHost_Task", "AddStandaloneHost_Task":
		return true
	}
	return false
}

// deploys says whether a REST call makes a machine, or an item of one. Templates are made by calls that come to the gate
// by themselves.
func deploys(path string) bool {
	if strings.Contains(path, "/vm-template/") {
		return false
	}
	return strings.HasPrefix(path, "/rest/com/vmware/vcenter/") || strings.HasPrefix(path, "/rest/vcenter/") ||
		strings.HasPrefix(path, "/api/vcenter/")
}
