// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
)

// image is what the images of one item have in common, wherever they show. It is not changed any more.
type image struct {
	id     string // of the item
	item   *facts.Item
	name   string
	own    scoped // in a namespace
	all    scoped // in the whole cluster
	status v1alpha5.VirtualMachineImageStatus
}

// scoped is what differs between namespaces and the whole cluster: the kinds of what an image names as its origin.
type scoped struct {
	meta metav1.ObjectMeta
	spec v1alpha5.VirtualMachineImageSpec
}

// imageOf makes an image of an item.
func imageOf(library *facts.Library, item *facts.Item) *image {
	made := &image{
		id: item.ID, item: item, name: facts.ImageName(item.ID),
		status: v1alpha5.VirtualMachineImageStatus{
			Name: item.Name, Type: strings.ToUpper(item.Type), ProviderItemID: item.ID, ProviderContentVersion: item.Version,
		},
	}
	if item.Type != facts.ItemISO {
		made.status.ProviderContentVersion = item.ImageVersion
	}
	if item.Image != nil {
		describe(&made.status, item.Image)
	}
	labels := labelsOf(&made.status, item.Image)
	made.own, made.all = scopedOf("", library, item, labels), scopedOf("Cluster", library, item, labels)
	return made
}

// scopedOf makes what differs; scope stands before the kinds.
func scopedOf(scope string, library *facts.Library, item *facts.Item, labels map[string]string) scoped {
	group := vmoperator.RegistryGroup
	annotations := map[string]string{vsphere.LibraryAnnotation: library.Name}
	if item.Name != "" {
		annotations[vmoperator.DisplayNameAnnotation] = item.Name
	}
	if reference, err := json.Marshal(corev1.TypedLocalObjectReference{
		APIGroup: &group, Kind: scope + vmoperator.RegistryLibraryKind,
		Name: facts.ProviderName(vmoperator.RegistryLibraryPrefix, library.ID),
	}); err == nil { // it cannot fail
		annotations[v1alpha5.VMIContentLibRefAnnotation] = string(reference)
	}
	return scoped{
		meta: metav1.ObjectMeta{
			Name: facts.ImageName(item.ID), Generation: 1, CreationTimestamp: seconds(item.Created), Labels: labels, Annotations: annotations,
		},
		spec: v1alpha5.VirtualMachineImageSpec{ProviderRef: &common.LocalObjectRef{
			APIVersion: group + "/" + vmoperator.RegistryVersion, Kind: scope + vmoperator.RegistryItemKind,
			Name: facts.ProviderName(vmoperator.RegistryItemPrefix, item.ID),
		}},
	}
}

func seconds(at time.Time) metav1.Time { return metav1.NewTime(at).Rfc3339Copy() }

// describe tells what a descriptor says.
func describe(status *v1alpha5.VirtualMachineImageStatus, told *facts.Image) {
	status.Firmware = told.Firmware
	status.OSInfo = v1alpha5.VirtualMachineImageOSInfo{ID: strconv.Itoa(told.OS), Type: told.GuestID, Version: told.OSVersion}
	if told.HardwareVersion > 0 {
		status.HardwareVersion = &told.HardwareVersion
	}
	status.ProductInfo = v1alpha5.VirtualMachineImageProductInfo{
		Product: told.Product.Name, Vendor: told.Product.Vendor, Version: told.Product.Version, FullVersion: told.Product.FullVersion,
	}
	for _, property := range told.Properties {
		switch {
		case property.Key == vmoperator.CapabilitiesProperty:
			status.Capabilities = capabilities(property.Default)
		case strings.HasPrefix(property.Key, vmoperator.SystemPropertyPrefix):
			status.VMwareSystemProperties = append(status.VMwareSystemProperties, common.KeyValuePair{Key: property.Key, Value: property.Default})
		case property.UserConfigurable:
			shown := v1alpha5.OVFProperty{Key: property.Key, Type: property.Type}
			if property.Default != "" {
				shown.Default = &property.Default
			}
			status.OVFProperties = append(status.OVFProperties, shown)
		}
	}
	names := map[string]int{}
	for _, disk := range told.Disks {
		name := disk.Label
		if n, taken := names[name]; taken {
			names[name] = n + 1
			name = fmt.Sprintf("%s_%d", name, n+1)
		}
		names[name] = 0
		size := resource.NewQuantity(disk.Capacity, resource.BinarySI)
		status.Disks = append(status.Disks, v1alpha5.VirtualMachineImageDiskInfo{
			Name: name, Limit: size, Requested: size, UnitNumber: disk.Unit,
			ControllerType: v1alpha5.VirtualControllerType(disk.Controller), ControllerBusNumber: disk.Bus,
		})
	}
}

// Keeps says whether an image shows anything of what a descriptor has under a key: of its options, and of those properties
// that its user may not set.
func Keeps(key string) bool {
	switch key {
	case vmoperator.CapabilitiesProperty, vmoperator.ImageLabelsOption, vmoperator.DeferCloudInitOption:
		return true
	}
	return strings.HasPrefix(key, vmoperator.SystemPropertyPrefix)
}

// capabilities are those of a list, each once.
func capabilities(list string) (all []string) {
	seen := map[string]bool{}
	for _, capability := range strings.Split(list, ",") {
		if capability = strings.TrimSpace(capability); capability != "" && !seen[capability] {
			seen[capability] = true
			all = append(all, capability)
		}
	}
	return all
}

// labelsOf are those by which images are found. What cannot be a label is none.
func labelsOf(status *v1alpha5.VirtualMachineImageStatus, told *facts.Image) map[string]string {
	labels := map[string]string{}
	set := func(key, value string) {
		if len(validation.IsQualifiedName(key)) == 0 && len(validation.IsValidLabelValue(value)) == 0 {
			labels[key] = value
		}
	}
	if told != nil {
		for pair := range strings.SplitSeq(told.Extra[vmoperator.ImageLabelsOption], ",") {
			key, value, _ := strings.Cut(pair, ":")
			set(key, value)
		}
	}
	for key, value := range map[string]string{
		v1alpha5.VirtualMachineImageTypeLabel: status.Type, v1alpha5.VirtualMachineImageOSIDLabel: status.OSInfo.ID,
		v1alpha5.VirtualMachineImageOSTypeLabel: status.OSInfo.Type, v1alpha5.VirtualMachineImageOSVersionLabel: status.OSInfo.Version,
	} {
		if value != "" {
			set(key, value)
		}
	}
	for _, capability := range status.Capabilities {
		set(v1alpha5.VirtualMachineImageCapabilityLabel+capability, "true")
	}
	return labels
}

// compatible says whether an image was made for the first version of the API.
func compatible(told *facts.Image) bool {
	return told != nil && told.Extra[vmoperator.DeferCloudInitOption] == vmoperator.DeferCloudInitReady
}

// readiness is whether an image is as its item is, as vm-operator tells it. Its time is not set.
func readiness(library *facts.Library, item *facts.Item) metav1.Condition {
	not := func(reason, format string, args ...any) metav1.Condition {
		return metav1.Condition{
			Type: v1alpha5.ReadyConditionType, Status: metav1.ConditionFalse, Reason: reason, Message: fmt.Sprintf(format, args...),
		}
	}
	switch {
	case item.NotCompliant:
		return not(v1alpha5.VirtualMachineImageProviderSecurityNotCompliantReason,
			"The item does not comply with the security policy of the content library %q.", library.Name)
	case library.Problem != "":
		return not(v1alpha5.VirtualMachineImageProviderNotReadyReason,
			"What is shown was read before; the content library %q cannot be read now: %s.", library.Name, library.Problem)
	case item.Problem != "":
		return not(v1alpha5.VirtualMachineImageNotSyncedReason, "The latest contents of the item cannot be read: %s.", item.Problem)
	}
	return metav1.Condition{Type: v1alpha5.ReadyConditionType, Status: metav1.ConditionTrue, Reason: string(metav1.ConditionTrue)}
}
