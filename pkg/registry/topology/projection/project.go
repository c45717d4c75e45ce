// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"slices"
	"strings"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

// The reasons of the condition Ready.
const (
	ReasonReady  = "Ready"
	ReasonDRSOff = "DRSOff"
)

// place is where a vSphere Namespace lies in vCenter: all of it that counts here.
type place struct {
	name    string
	uid     k8stypes.UID
	created metav1.Time
	folder  string
	pools   []string // ids
}

func placeOf(namespace *vspherev1.Namespace) place {
	at := place{name: namespace.Name, uid: namespace.UID, created: namespace.CreationTimestamp,
		folder: namespace.Status.Folder}
	for _, zone := range namespace.Status.Zones {
		if zone.ResourcePool != "" {
			at.pools = append(at.pools, zone.ResourcePool)
		}
	}
	return at
}

func (a place) equal(b place) bool {
	return a.name == b.name && a.uid == b.uid && a.created.Equal(&b.created) && a.folder == b.folder &&
		slices.Equal(a.pools, b.pools)
}

// uidOf makes a uid that is the same whenever it is made of the same.
func uidOf(instance string, path ...string) k8stypes.UID {
	return k8stypes.UID(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vsphere://"+instance+"/"+
		strings.Join(path, "/"))).String())
}

// availabilityZone makes the object of a zone. vCenter keeps no time for a
// cluster, so it has no age.
func (p *Projector) availabilityZone(zone string) *v1alpha1.AvailabilityZone {
	clusters := p.members[zone]
	object := &v1alpha1.AvailabilityZone{
		ObjectMeta: metav1.ObjectMeta{Name: zone, UID: uidOf(p.vcenter, facts.TypeCluster, clusters[0])},
		Spec: v1alpha1.AvailabilityZoneSpec{
			ClusterComputeResourceMoID:  clusters[0],
			ClusterComputeResourceMoIDs: clusters,
			Namespaces:                  map[string]v1alpha1.NamespaceInfo{},
		},
		Status: v1alpha1.AvailabilityZoneStatus{Conditions: []metav1.Condition{p.ready(clusters)}},
	}
	for _, at := range p.namespaces {
		if pool := p.poolsOf(at)[zone]; pool != "" {
			object.Spec.Namespaces[at.name] = v1alpha1.NamespaceInfo{PoolMoID: pool, PoolMoIDs: []string{pool},
				FolderMoID: at.folder}
		}
	}
	return object
}

// ready says whether there can be resource pools in a zone, which is in the first
// of its clusters. vCenter keeps no time for that.
func (p *Projector) ready(clusters []string) metav1.Condition {
	cluster := p.clusters[clusters[0]]
	if cluster.DRSOff {
		return metav1.Condition{
			Type: v1alpha1.AvailabilityZoneConditionReady, Status: metav1.ConditionFalse, Reason: ReasonDRSOff,
			LastTransitionTime: metav1.Unix(0, 0),
			Message: "DRS is turned off in the cluster " + cluster.ID.Value +
				", so that it can have no resource pools: turn it on in vCenter, " +
				"or leave the cluster out of --zone-clusters.",
		}
	}
	return metav1.Condition{
		Type: v1alpha1.AvailabilityZoneConditionReady, Status: metav1.ConditionTrue, Reason: ReasonReady,
		LastTransitionTime: metav1.Unix(0, 0),
		Message:            "vSphere Namespaces can have resource pools in it.",
	}
}

// part makes the object of what a namespace has in a zone.
func (p *Projector) part(at place, zone, pool string) *v1alpha1.Zone {
	own := v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{pool}, FolderMoID: at.folder}
	return &v1alpha1.Zone{
		ObjectMeta: metav1.ObjectMeta{
			Name: zone, Namespace: at.name, CreationTimestamp: at.created,
			UID: uidOf(p.vcenter, facts.TypeCluster, p.members[zone][0], "Namespace", string(at.uid)),
		},
		Spec: v1alpha1.ZoneSpec{
			Namespace:        own,
			ManagedVMs:       own,
			AvailabilityZone: v1alpha1.AvailabilityZoneReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Name: zone},
		},
	}
}
