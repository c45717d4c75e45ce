// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"fmt"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// Condition types and reasons of our own, beside those of vm-operator.
const (
	// NameUniqueCondition is False on a machine whose name carries a hash because another has the name that it asks for.
	NameUniqueCondition = "NameUnique"
	// NameTakenReason says that another machine has the name.
	NameTakenReason = "NameTaken"
	// MetadataReadableCondition is False on a machine whose metadata in ExtraConfig cannot be read.
	MetadataReadableCondition = "MetadataReadable"
	// MalformedMetadataReason says that the value is no record of ours.
	MalformedMetadataReason = "MalformedMetadata"
	// MetadataInForceCondition is False on a machine in whose metadata there is something that does not count where it lies.
	MetadataInForceCondition = "MetadataInForce"
	// WrittenElsewhereReason says that it was written in another place.
	WrittenElsewhereReason = "WrittenElsewhere"
	// AnotherInstallationReason says that another installation of Pacific wrote the metadata.
	AnotherInstallationReason = "AnotherInstallation"
	// UnprovenMetadataReason says that nobody knows whether this installation wrote the metadata.
	UnprovenMetadataReason = "UnprovenMetadata"
	// MetadataCurrentCondition is False on a machine whose metadata is older than what was seen of it before.
	MetadataCurrentCondition = "MetadataCurrent"
	// WentBackReason says that somebody took the machine, or its metadata, back.
	WentBackReason = "WentBack"
	// QuestionAnsweredCondition is False on a machine that waits for somebody's answer in vCenter.
	QuestionAnsweredCondition = "QuestionAnswered"
	// QuestionPendingReason says that nobody has answered yet.
	QuestionPendingReason = "QuestionPending"
	// ConfigurationReadableCondition is False on a machine of which vCenter tells no configuration.
	ConfigurationReadableCondition = "ConfigurationReadable"
	// ConfigurationUnavailableReason says that vCenter cannot read it.
	ConfigurationUnavailableReason = "ConfigurationUnavailable"
	// NeedsPowerOffReason says that a machine can be given what is declared only while it is off.
	NeedsPowerOffReason = "NeedsPowerOff"
	// NotToldReason says that a guest is yet to be told of something.
	NotToldReason = "NotTold"
	// PoweredOffReason says that a machine is not on.
	PoweredOffReason = "NotPoweredOn"
	// NotProbedReason says that nobody knows yet what comes of the machine's readiness probe.
	NotProbedReason = "NotProbed"
	// DisconnectedReason says that vCenter does not reach the machine now.
	DisconnectedReason = "VirtualMachineDisconnected"

	trueReason          = "True"
	notSyncedReason     = "NotSynced"
	unknownToolsReason  = "NoGuestInfo"
	malformedRemedyText = "the value of " + facts.RecordKey + " in the virtual machine's ExtraConfig (advanced configuration parameters) cannot be read: %v. " +
		"The virtual machine is shown as one without metadata and cannot be changed here until the value is repaired or removed in vCenter"
)

const wentBackText = "the record in the virtual machine is older than the one that was there before, as after a revert to a snapshot or a " +
	"restore, or was taken away: nothing is done to the virtual machine until somebody writes to it here, and then what is shown counts"

const recalledText = untoldText + ": it has the name, uid and time of creation that were seen last; its labels, annotations, " +
	"owners and declared power state, and much of what else is shown, come back when vCenter can, and nothing of it can be " +
	"changed until then"

func anotherText(installation string) string {
	return fmt.Sprintf("the record in the virtual machine was written by another installation of Pacific (%s), and does not count here: "+
		"this one neither changes nor destroys the virtual machine; to have it replaced, set the annotation %s=%s",
		installation, vsphere.TakeOverAnnotation, installation)
}

func doubtedText(installation, why string) string {
	return fmt.Sprintf("the record in the virtual machine is not proven to be written by this installation of Pacific: %s. It does not "+
		"count here: this installation neither changes nor destroys the virtual machine. Somebody has edited it in vCenter, or the key "+
		"is not in etcd any more: put back what was there, or, to have the record replaced by what is shown, set the annotation %s=%s; "+
		"what is taken over so does not count as made here", why, vsphere.TakeOverAnnotation, installation)
}

func is(conditionType string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionTrue, Reason: trueReason}
}

func isNot(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// conditions tells what is true of the machine, without times, sorted by type.
func (v *view) conditions() []metav1.Condition {
	list := make([]metav1.Condition, 0, 6)
	if v.building() {
		list = append(list, isNot(vmopv1.VirtualMachineConditionCreated, vmoperator.BuildingReason, "its disks are yet to be made"))
	} else {
		list = append(list, is(vmopv1.VirtualMachineConditionCreated))
	}
	if v.meta != nil && (v.meta.Created || v.meta.Spec.ReadinessProbe != nil) {
		list = append(list, v.serves())
	}

	switch v.live.Guest.Tools {
	case facts.ToolsRunning, facts.ToolsScripting:
		c := is(vmopv1.VirtualMachineToolsCondition)
		c.Reason = vmopv1.VirtualMachineToolsRunningReason
		list = append(list, c)
	case facts.ToolsNotRunning:
		list = append(list, isNot(vmopv1.VirtualMachineToolsCondition, vmopv1.VirtualMachineToolsNotRunningReason, "VMware Tools is not running"))
	default:
		list = append(list, metav1.Condition{Type: vmopv1.VirtualMachineToolsCondition, Status: metav1.ConditionUnknown, Reason: unknownToolsReason,
			Message: "vCenter does not say whether VMware Tools is running"})
	}

	if customized, told := v.customization(); told {
		list = append(list, customized)
	}
	list = append(list, v.ready())
	if v.recalled {
		list = append(list, isNot(ConfigurationReadableCondition, ConfigurationUnavailableReason, recalledText))
	}

	if v.meta != nil && v.meta.Spec.PowerState != "" {
		live := apiPowerState(v.live.PowerState)
		if live == v.meta.Spec.PowerState {
			list = append(list, is(vmopv1.VirtualMachinePowerStateSynced))
		} else {
			list = append(list, isNot(vmopv1.VirtualMachinePowerStateSynced, notSyncedReason,
				fmt.Sprintf("the power state is %s where %s is asked for", live, v.meta.Spec.PowerState)))
		}
	}
	if v.meta != nil && v.meta.Size != nil {
		list = append(list, v.sized(*v.meta.Size))
	}
	if v.meta != nil && v.meta.Drives != nil && v.live.Hardware != nil && !v.building() {
		list = append(list, v.driven(*v.meta.Drives))
	}
	list = append(list, v.networked()...)
	if promoted, told := v.promoted(); told {
		list = append(list, promoted)
	}
	if question := v.live.Question; question != "" {
		list = append(list, isNot(QuestionAnsweredCondition, QuestionPendingReason,
			"the virtual machine waits for an answer, and its power cannot be changed until somebody gives it in vCenter: "+question))
	}
	if v.taken != "" {
		list = append(list, isNot(NameUniqueCondition, NameTakenReason,
			fmt.Sprintf("another virtual machine of namespace %s has the name %q, so this one is shown as %q: rename one of them", v.namespace, v.taken, v.name)))
	}
	if v.wentBack {
		list = append(list, isNot(MetadataCurrentCondition, WentBackReason, wentBackText))
	}
	if other, another := v.live.Machine().Another(v.installation); another {
		list = append(list, isNot(MetadataInForceCondition, AnotherInstallationReason, anotherText(other)))
	}
	if doubt := v.live.Machine().Doubted(v.installation); doubt != "" {
		list = append(list, isNot(MetadataInForceCondition, UnprovenMetadataReason, doubtedText(v.installation, doubt)))
	}
	if len(v.aside) > 0 {
		list = append(list, isNot(MetadataInForceCondition, WrittenElsewhereReason, asideText(v.meta, v.aside)))
	}
	if v.metaErr != nil {
		list = append(list, isNot(MetadataReadableCondition, MalformedMetadataReason, fmt.Sprintf(malformedRemedyText, v.metaErr)))
	}

	slices.SortFunc(list, func(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) })
	return list
}

// sized tells whether the machine is as large as its class was when that was declared.
func (v *view) sized(wanted facts.Size) metav1.Condition {
	const conditionType = vmopv1.VirtualMachineClassConfigurationSynced
	wanted = wanted.Over(v.live.Size)
	switch {
	case v.live.Size == wanted:
		return is(conditionType)
	case !v.live.Size.Changes(wanted, v.live.PowerState, v.live.CPUHotAdd, v.live.MemoryHotAdd):
		return isNot(conditionType, NeedsPowerOffReason, fmt.Sprintf("it has %s where the class %q was declared with %s, and "+
			"cannot be given that while it is on: set spec.powerState to PoweredOff, and then to PoweredOn",
			sizeText(v.live.Size), v.meta.Spec.ClassName, sizeText(wanted)))
	}
	return isNot(conditionType, notSyncedReason, fmt.Sprintf("it has %s where the class %q was declared with %s",
		sizeText(v.live.Size), v.meta.Spec.ClassName, sizeText(wanted)))
}

// driven tells whether the machine has the CD-ROM drives that are declared.
func (v *view) driven(wanted facts.Drives) metav1.Condition {
	const conditionType = vmopv1.VirtualMachineHardwareCDROMVerified
	changes := wanted.Changes(v.live.Hardware.Cdroms, v.live.PowerState)
	switch {
	case len(changes) == 0:
		return is(conditionType)
	case len(facts.Possible(changes, v.live.PowerState)) < len(changes):
		return isNot(conditionType, NeedsPowerOffReason, "its CD-ROM drives are not those of spec.hardware.cdrom, "+
			"and only one that is off can get others: set spec.powerState to PoweredOff, and then to PoweredOn")
	}
	return isNot(conditionType, notSyncedReason,
		"its CD-ROM drives are not as spec.hardware.cdrom declares them")
}

// promoted tells whether the disks of a machine that was made linked stand by themselves.
func (v *view) promoted() (metav1.Condition, bool) {
	const conditionType = vmopv1.VirtualMachineDiskPromotionSynced
	if v.meta == nil || !v.meta.Created || v.building() || v.live.Hardware == nil ||
		!vmoperator.Linked(v.meta.Annotations) && v.meta.Spec.PromoteDisksMode == "" ||
		v.meta.Spec.PromoteDisksMode == vmopv1.VirtualMachinePromoteDisksModeDisabled {
		return metav1.Condition{}, false
	}
	pending := ""
	switch offline := v.meta.Spec.PromoteDisksMode == vmopv1.VirtualMachinePromoteDisksModeOffline; {
	case !v.live.Hardware.Linked():
		return is(conditionType), true
	case v.live.Snapshot:
		pending = "its disks are linked, and stay so as long as it has a snapshot"
	case offline && v.live.PowerState != facts.PoweredOff:
		pending = "its disks are linked, and stand by themselves once it is powered off"
	case !offline && v.live.PowerState != facts.PoweredOn:
		pending = "its disks are linked, and stand by themselves once it is powered on"
	default:
		pending = "its disks are linked"
	}
	return isNot(conditionType, vmoperator.PromotionPendingReason, pending), true
}

func sizeText(s facts.Size) string {
	text := fmt.Sprintf("%d CPUs and %d MiB of memory", s.CPUs, s.MemoryMB)
	for _, part := range []struct {
		name, unit string
		facts.Allocation
	}{{"CPU", "MHz", s.CPU}, {"memory", "MiB", s.Memory}} {
		if part.Reservation > 0 {
			text += fmt.Sprintf(", %d %s of %s reserved", part.Reservation, part.unit, part.name)
		}
		if part.Limit >= 0 {
			text += fmt.Sprintf(", at most %d %s of %s", part.Limit, part.unit, part.name)
		}
	}
	return text
}

// building says that something of the machine is left to be made, and that it is for Pacific to make it.
func (v *view) building() bool { return v.meta != nil && v.meta.Build != nil && v.meta.Created }

// customization tells how far the customisation of the guest is, as vm-operator does: of a machine for which one was
// asked, or of which vCenter tells of one.
func (v *view) customization() (metav1.Condition, bool) {
	status := v.live.Guest.Customization
	if status == nil {
		asked := v.meta != nil && bootstrap.Customizes(&v.meta.Spec)
		if asked && v.building() {
			return isNot(vmopv1.GuestCustomizationCondition, vmopv1.GuestCustomizationPendingReason,
				"its guest is customised when it is powered on first"), true
		}
		return metav1.Condition{Type: vmopv1.GuestCustomizationCondition, Status: metav1.ConditionUnknown,
			Reason: unknownToolsReason, Message: "vCenter tells nothing of a customisation of the guest"}, asked
	}
	switch status.State {
	case facts.CustomizationPending:
		return isNot(vmopv1.GuestCustomizationCondition, vmopv1.GuestCustomizationPendingReason,
			"its guest is customised when it is powered on next"), true
	case facts.CustomizationRunning:
		return isNot(vmopv1.GuestCustomizationCondition, vmopv1.GuestCustomizationRunningReason,
			"its guest is being customised"), true
	case facts.CustomizationSucceeded:
		return is(vmopv1.GuestCustomizationCondition), true
	case facts.CustomizationFailed:
		return isNot(vmopv1.GuestCustomizationCondition, vmopv1.GuestCustomizationFailedReason,
			"vCenter could not customise the guest: "+cmp.Or(status.Error, "it does not say why")), true
	}
	return isNot(vmopv1.GuestCustomizationCondition, "Unknown", "vCenter says "+status.State), true
}

// serves tells whether a machine that Pacific made runs as it was asked for, with a guest that answers.
func (v *view) serves() metav1.Condition {
	switch {
	case v.building():
		return isNot(vmopv1.ReadyConditionType, vmoperator.BuildingReason, "it is being made")
	case v.live.PowerState != facts.PoweredOn:
		return isNot(vmopv1.ReadyConditionType, PoweredOffReason, "it is not powered on")
	case v.meta.Spec.ReadinessProbe == nil && v.live.Guest.Tools != facts.ToolsRunning && v.live.Guest.Tools != facts.ToolsScripting:
		return isNot(vmopv1.ReadyConditionType, vmopv1.VirtualMachineToolsNotRunningReason,
			"its guest has not answered yet: VMware Tools is not running in it")
	}
	if customized, told := v.customization(); told && customized.Status == metav1.ConditionFalse {
		return isNot(vmopv1.ReadyConditionType, customized.Reason, customized.Message)
	}
	if v.meta.Spec.ReadinessProbe != nil {
		return isNot(vmopv1.ReadyConditionType, NotProbedReason, "its readiness probe has not succeeded yet")
	}
	return is(vmopv1.ReadyConditionType)
}

// ready tells whether controllers keep the machine as it is declared.
func (v *view) ready() metav1.Condition {
	connection := v.live.Connection
	switch {
	case v.paused != "":
		return isNot(vmopv1.VirtualMachineReconcileReady, vmopv1.VirtualMachineReconcilePausedReason,
			"paused by the annotation "+vmopv1.PauseAnnotation+" or by "+vmopv1.PauseVMExtraConfigKey+" in ExtraConfig")
	case connection != "" && connection != facts.Connected:
		return isNot(vmopv1.VirtualMachineReconcileReady, DisconnectedReason, fmt.Sprintf("vCenter reports the virtual machine "+
			"as %s: what is shown is what was known before, and nothing can be changed", connection))
	case v.recalled:
		return isNot(vmopv1.VirtualMachineReconcileReady, ConfigurationUnavailableReason, untoldText)
	}
	return is(vmopv1.VirtualMachineReconcileReady)
}
