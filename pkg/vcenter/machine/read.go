// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// notice is what a VI admin reads in the notes of a machine that Pacific has written something to.
const notice = "Kubernetes keeps labels and settings of this virtual machine, by Pacific. To have it left alone, set " +
	facts.PauseKey + " to true in its advanced configuration parameters."

// reading is a machine as vCenter has it now, with the body of its record where that is proven.
type reading struct {
	facts.Machine
	body  []byte
	notes string
}

// notesWithNotice are the machine's notes with the notice, empty where they have it already.
func (r reading) notesWithNotice() string {
	switch {
	case strings.Contains(r.notes, notice):
		return ""
	case r.notes == "":
		return notice
	}
	return r.notes + "\n" + notice
}

// read asks vCenter for a machine and for the folders above it, in one call, so that all of it is of one moment. Where
// the machine lies is told up to the namespaces folder.
func (v *Verbs) read(ctx context.Context, client *vim25.Client, id facts.ID) (reading, error) {
	root := v.Root()
	this, err := vcenter.Refer(client, id)
	if err != nil {
		return reading{}, err
	}
	up := &types.SelectionSpec{Name: "up"}
	answer, err := methods.RetrievePropertiesEx(ctx, client, &types.RetrievePropertiesEx{
		This: client.ServiceContent.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet: []types.PropertySpec{
				{Type: facts.TypeMachine, PathSet: []string{PathName, PathParent, PathInstanceUUID, PathTemplate, PathChangeVersion,
					PathRecord, PathPause, PathPowerState, PathConnectionState, PathToolsRunning, PathQuestion, PathNotes,
					PathFile, PathPending, PathCustomization}},
				{Type: facts.TypeFolder, PathSet: []string{PathParent}},
			},
			ObjectSet: []types.ObjectSpec{{
				Obj: this,
				SelectSet: []types.BaseSelectionSpec{
					&types.TraversalSpec{Type: facts.TypeMachine, Path: PathParent, SelectSet: []types.BaseSelectionSpec{up}},
					&types.TraversalSpec{SelectionSpec: *up, Type: facts.TypeFolder, Path: PathParent,
						SelectSet: []types.BaseSelectionSpec{up}},
				},
			}},
		}},
	})
	if err != nil {
		return reading{}, err
	}
	var machine map[string]any
	parents := map[string]string{}
	// A machine lies less deep than vCenter's smallest page is long.
	if answer.Returnval != nil {
		for _, object := range answer.Returnval.Objects {
			switch {
			case object.Obj.Type == id.Type && object.Obj.Value == id.Value:
				machine = properties(object)
			case object.Obj.Type == facts.TypeFolder:
				parents[object.Obj.Value] = refOf(properties(object)[PathParent])
			}
		}
	}
	if machine == nil {
		return reading{}, fmt.Errorf("the virtual machine %s is not in vCenter any more: %w", id.Value, failure.NotFound)
	}
	found := reading{notes: text(machine[PathNotes]), Machine: facts.Machine{
		ID: id, Name: text(machine[PathName]), InstanceUUID: text(machine[PathInstanceUUID]),
		Template: machine[PathTemplate] == true, PauseOption: option(machine[PathPause]),
		PowerState: text(machine[PathPowerState]), Connected: connected(text(machine[PathConnectionState])),
		ToolsRunning:  text(machine[PathToolsRunning]) == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning),
		Question:      text(machine[PathQuestion]),
		ChangeVersion: text(machine[PathChangeVersion]),
		Folders:       folders(refOf(machine[PathParent]), parents, root),
		Home:          Home(text(machine[PathFile])),
		Customized:    customized(text(machine[PathPending]), machine[PathCustomization]),
	}}
	if value := option(machine[PathRecord]); value != "" {
		record := v.Keys.Decode(value)
		found.body = record.Body
		found.Carry(&record)
	}
	return found, nil
}

// customized says whether a customisation waits for the next start, or was run.
func customized(pending string, info any) bool {
	status, _ := info.(types.GuestInfoCustomizationInfo)
	return pending != "" || status.CustomizationStatus != "" && status.CustomizationStatus != facts.CustomizationIdle
}

func connected(state string) bool {
	return state == "" || state == string(types.VirtualMachineConnectionStateConnected)
}

// folders walks from a folder up to root. Empty: root is not above it.
func folders(from string, parents map[string]string, root facts.ID) []facts.ID {
	var chain []facts.ID
	for at := from; len(chain) <= len(parents); {
		parent, known := parents[at]
		if !known {
			return nil
		}
		chain = append(chain, facts.ID{VCenter: root.VCenter, Type: facts.TypeFolder, Value: at})
		if at == root.Value {
			return chain
		}
		at = parent
	}
	return nil
}

func properties(object types.ObjectContent) map[string]any {
	values := make(map[string]any, len(object.PropSet))
	for _, property := range object.PropSet {
		values[property.Name] = property.Val
	}
	return values
}

func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case types.VirtualMachinePowerState:
		return string(v)
	case types.VirtualMachineConnectionState:
		return string(v)
	}
	return ""
}

func refOf(value any) string {
	ref, _ := value.(types.ManagedObjectReference)
	return ref.Value
}

func option(value any) string {
	if o, ok := value.(types.OptionValue); ok {
		return text(o.Value)
	}
	return ""
}
