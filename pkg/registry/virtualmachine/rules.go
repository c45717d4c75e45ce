// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// prepareCreate fills in what vm-operator does: a machine runs unless somebody says otherwise, and knows itself by two ids.
func prepareCreate(_ context.Context, vm *v1alpha5.VirtualMachine) {
	if vm.Spec.PowerState == "" {
		vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOn
	}
	if vm.Spec.InstanceUUID == "" {
		vm.Spec.InstanceUUID = string(vm.UID)
	}
	if vm.Spec.BiosUUID == "" {
		vm.Spec.BiosUUID = string(uuid.NewUUID())
	}
	if told := vm.Spec.Bootstrap; told != nil && told.CloudInit != nil && told.CloudInit.InstanceID == "" {
		told.CloudInit.InstanceID = vm.Spec.BiosUUID
	}
	defaultCdroms(&vm.Spec, nil)
	nameImageByCdrom(&vm.Spec)
	bootstrap.Normalise(&vm.Spec)
}

// rules are those that go by the time of day.
type rules struct{ clock clock.PassiveClock }

// now is the word by which somebody asks for a restart.
const now = "now"

// prepareUpdate fills in what a manifest need not repeat: which machine it is about, what the server chose for it,
// and the server's label that tells who paused it.
func (r rules) prepareUpdate(_ context.Context, vm, before *v1alpha5.VirtualMachine) {
	repeatChoices(&vm.Spec, &before.Spec)
	r.stampRestart(&vm.Spec, &before.Spec)
	repeatNetworks(vm, before)
	defaultCdroms(&vm.Spec, &before.Spec)
	bootstrap.Normalise(&vm.Spec)
	if who, told := before.Labels[v1alpha5.PausedVMLabelKey]; told && vm.Labels[v1alpha5.PausedVMLabelKey] == "" {
		vm.Labels = maps.Clone(vm.Labels)
		metav1.SetMetaDataLabel(&vm.ObjectMeta, v1alpha5.PausedVMLabelKey, who)
	}
}

// repeatChoices says again what the server filled in when the machine was made, and a manifest does not say.
func repeatChoices(spec, before *v1alpha5.VirtualMachineSpec) {
	for _, field := range []struct{ now, before *string }{
		{&spec.InstanceUUID, &before.InstanceUUID}, {&spec.BiosUUID, &before.BiosUUID}, {&spec.GuestID, &before.GuestID},
		{&spec.ImageName, &before.ImageName},
	} {
		if *field.now == "" {
			*field.now = *field.before
		}
	}
	if spec.Image == nil && spec.ImageName == before.ImageName {
		spec.Image = before.Image.DeepCopy()
	}
	if spec.Network == nil {
		spec.Network = before.Network.DeepCopy()
	}
	if told, was := spec.Bootstrap, before.Bootstrap; told != nil && told.CloudInit != nil && told.CloudInit.InstanceID == "" &&
		was != nil && was.CloudInit != nil {
		told.CloudInit.InstanceID = was.CloudInit.InstanceID
	}
}

// stampRestart puts the time for the word now. It is told by the second, in which it differs from the one before, as
// clients see the last one in the status.
func (r rules) stampRestart(spec, before *v1alpha5.VirtualMachineSpec) {
	switch {
	case spec.NextRestartTime == "":
		spec.NextRestartTime = before.NextRestartTime
	case strings.EqualFold(spec.NextRestartTime, now):
		at := r.clock.Now().UTC().Truncate(time.Second)
		if last, err := time.Parse(time.RFC3339, before.NextRestartTime); err == nil && !at.After(last) {
			at = last.Add(time.Second)
		}
		spec.NextRestartTime = at.Format(time.RFC3339)
	}
}

// repeatNetworks says of the network cards at which network they are, where a manifest leaves that to the server. A client
// that sends a list sends all of it, and so takes away what it does not know.
func repeatNetworks(vm, before *v1alpha5.VirtualMachine) {
	if vm.Spec.Network == nil || before.Spec.Network == nil {
		return
	}
	known := map[string]*common.PartialObjectRef{}
	for _, card := range before.Spec.Network.Interfaces {
		known[card.Name] = card.Network
	}
	for i := range vm.Spec.Network.Interfaces {
		card := &vm.Spec.Network.Interfaces[i]
		if card.Network == nil || *card.Network == (common.PartialObjectRef{}) {
			card.Network = known[card.Name].DeepCopy()
		}
	}
}

// warnings tells of what is asked for of a paused machine, and so comes about for now by nothing.
func warnings(_ context.Context, vm, before *v1alpha5.VirtualMachine) []string {
	why := ""
	switch {
	case vmoperator.PausedByUser(vm.Annotations):
		why = "the annotation " + v1alpha5.PauseAnnotation + " is set"
	case vmoperator.PausedByAdmin(before.Labels):
		why = v1alpha5.PauseVMExtraConfigKey + " is true in the virtual machine's ExtraConfig, by which a VI admin has paused it"
	default:
		return nil
	}
	var told []string
	for _, asked := range []struct {
		field   string
		changed bool
	}{
		{"powerState", vm.Spec.PowerState != "" && vm.Spec.PowerState != before.Spec.PowerState},
		{"nextRestartTime", vm.Spec.NextRestartTime != "" && vm.Spec.NextRestartTime != before.Spec.NextRestartTime},
		{"className", vm.Spec.ClassName != "" && vm.Spec.ClassName != before.Spec.ClassName},
		{"hardware", vm.Spec.Hardware != nil && !equality.Semantic.DeepEqual(vm.Spec.Hardware, before.Spec.Hardware)},
		{"network", vm.Spec.Network != nil && !equality.Semantic.DeepEqual(vm.Spec.Network, before.Spec.Network)},
	} {
		if asked.changed {
			told = append(told, "spec."+asked.field+": not applied while "+why)
		}
	}
	return told
}
