// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage

import (
	"strconv"
	"strings"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/registry"
)

// Images describes the images of a namespace.
func Images() *registry.Kind[v1alpha5.VirtualMachineImage, v1alpha5.VirtualMachineImageList] {
	type image = v1alpha5.VirtualMachineImage
	return &registry.Kind[image, v1alpha5.VirtualMachineImageList]{
		Resource: "virtualmachineimages", Singular: "virtualmachineimage", Title: "virtual machine images",
		ShortNames: []string{"vmi", "vmimage"}, Versions: install.Versions(), Namespaced: true,
		Columns: columns(func(i *image) *v1alpha5.VirtualMachineImageStatus { return &i.Status }, true),
	}
}

// ClusterImages describes the images that everybody may use.
func ClusterImages() *registry.Kind[v1alpha5.ClusterVirtualMachineImage, v1alpha5.ClusterVirtualMachineImageList] {
	type image = v1alpha5.ClusterVirtualMachineImage
	return &registry.Kind[image, v1alpha5.ClusterVirtualMachineImageList]{
		Resource: "clustervirtualmachineimages", Singular: "clustervirtualmachineimage",
		Title:      "cluster virtual machine images",
		ShortNames: []string{"cvmi", "cvmimage", "clustervmi", "clustervmimage"}, Versions: install.Versions(),
		Columns: columns(func(i *image) *v1alpha5.VirtualMachineImageStatus { return &i.Status }, false),
	}
}

// columns are vm-operator's, and with -o wide what tells an image from another one of its name.
func columns[T any](statusOf func(*T) *v1alpha5.VirtualMachineImageStatus, capabilities bool) []registry.Column[T] {
	column := func(name, description string, cell func(*v1alpha5.VirtualMachineImageStatus) any) registry.Column[T] {
		return registry.Column[T]{Name: name, Type: "string", Description: description,
			Cell: func(image *T, _ time.Time) any {
				return cell(statusOf(image))
			}}
	}
	type status = v1alpha5.VirtualMachineImageStatus
	all := []registry.Column[T]{
		registry.NameColumn[T]("The name of the image, which is made of the identifier of its item."),
		column("Display Name", "What it is called in vCenter.", func(s *status) any { return s.Name }),
		column("Type", "OVF, VM for a template, or ISO.", func(s *status) any { return s.Type }),
		column("Image Version", "The version of the product in it.", func(s *status) any { return s.ProductInfo.Version }),
		column("OS Name", "The operating system, in vCenter's words.", func(s *status) any { return s.OSInfo.Type }),
		column("OS Version", "The version of the operating system.", func(s *status) any { return s.OSInfo.Version }),
		column("Hardware Version", "The virtual hardware that it was made for.", func(s *status) any {
			if s.HardwareVersion == nil {
				return ""
			}
			return strconv.Itoa(int(*s.HardwareVersion))
		}),
	}
	if capabilities {
		all = append(all, column("Capabilities", "What machines of it can do.",
			func(s *status) any { return strings.Join(s.Capabilities, ",") }))
	}
	ready := column("Ready", "Whether it is as its item is now.", func(s *status) any {
		if condition := meta.FindStatusCondition(s.Conditions, v1alpha5.ReadyConditionType); condition != nil {
			return string(condition.Status)
		}
		return ""
	})
	library := registry.Column[T]{Name: "Library", Type: "string", Description: "The content library that it lies in.",
		Cell: func(image *T, _ time.Time) any {
			return any(image).(metav1.Object).GetAnnotations()[vsphere.LibraryAnnotation]
		}}
	age := registry.AgeColumn[T]("The time since its item was made.")
	ready.Wide, library.Wide, age.Wide = true, true, true
	return append(all, ready, library, age)
}
