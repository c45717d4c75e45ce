// SPDX-License-Identifier: Apache-2.0

package storageclass

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

const (
	// provisioner and policyParameter are those of vSphere's CSI driver, as the
	// Supervisor's StorageClasses have them. The other parameter that people know,
	// svStorageClass, is for classes inside guest clusters.
	provisioner     = "csi.vsphere.vmware.com"
	policyParameter = "storagePolicyID"
)

// QuotaName is the name of the ResourceQuota that holds back what a vSphere
// Namespace may not store.
func QuotaName(namespace string) string { return namespace + "-storagequota" }

// QuotaKey is what a quota calls the storage that claims of a class ask for.
func QuotaKey(class string) corev1.ResourceName {
	return corev1.ResourceName(class + ".storageclass.storage.k8s.io/" + string(corev1.ResourceRequestsStorage))
}

// class is what the StorageClass of a policy is to be.
func class(policy Policy) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: policy.ClassName,
			Labels: map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}},
		Provisioner:          provisioner,
		Parameters:           map[string]string{policyParameter: policy.ID},
		ReclaimPolicy:        ptr.To(corev1.PersistentVolumeReclaimDelete),
		AllowVolumeExpansion: ptr.To(true),
		VolumeBindingMode:    ptr.To(storagev1.VolumeBindingImmediate),
	}
}

// repairable says whether what differs may be changed in place.
func repairable(have, want *storagev1.StorageClass) bool {
	return have.Provisioner == want.Provisioner && maps.Equal(have.Parameters, want.Parameters) &&
		equality.Semantic.DeepEqual(have.ReclaimPolicy, want.ReclaimPolicy) &&
		equality.Semantic.DeepEqual(have.VolumeBindingMode, want.VolumeBindingMode)
}

func same(have, want *storagev1.StorageClass) bool {
	return repairable(have, want) && equality.Semantic.DeepEqual(have.AllowVolumeExpansion, want.AllowVolumeExpansion) &&
		slices.Equal(have.MountOptions, want.MountOptions) &&
		equality.Semantic.DeepEqual(have.AllowedTopologies, want.AllowedTopologies)
}

// open returns a vSphere Namespace in which nothing would hold back a class that
// is not there yet, "" for none. A quota counts once Kubernetes has taken it up in
// its status.
func (c *Controller) open(class string, namespaces []*v1alpha1.Namespace) string {
	for _, namespace := range namespaces {
		core, err := c.Core.Lister().Get(namespace.Name)
		if err != nil || core.DeletionTimestamp != nil || namespace.Status.Folder == "" ||
			core.Annotations[vsphere.FolderAnnotation] != namespace.Status.Folder {
			// Nobody but an administrator can claim anything there yet, or any more.
			continue
		}
		quota, err := c.Quotas.Lister().ResourceQuotas(namespace.Name).Get(QuotaName(namespace.Name))
		if err != nil {
			return namespace.Name
		}
		if _, held := quota.Status.Hard[QuotaKey(class)]; !held {
			return namespace.Name
		}
	}
	return ""
}
