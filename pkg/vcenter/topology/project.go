// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"maps"
	"strings"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// place is where a vSphere Namespace lies in vCenter: all of it that counts here.
type place struct {
	name    string
	uid     k8stypes.UID
	created metav1.Time
	folder  string
	pools   map[string]string // by zone
}

func placeOf(namespace *vspherev1.Namespace) place {
	at := place{
		name: namespace.Name, uid: namespace.UID, created: namespace.CreationTimestamp, folder: namespace.Status.Folder,
		pools: make(map[string]string, len(namespace.Status.Zones)),
	}
	for _, zone := range namespace.Status.Zones {
		if zone.ResourcePool != "" {
			at.pools[zone.Name] = zone.ResourcePool
		}
	}
	return at
}

func (a place) equal(b place) bool {
	return a.name == b.name && a.uid == b.uid && a.created.Equal(&b.created) && a.folder == b.folder && maps.Equal(a.pools, b.pools)
}

// uidOf makes a uid that is the same whenever it is made of the same.
func uidOf(instance string, path ...string) k8stypes.UID {
	return k8stypes.UID(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vsphere://"+instance+"/"+strings.Join(path, "/"))).String())
}

// availabilityZone makes the object of a zone. vCenter keeps no time for a
// cluster, so it has no age.
func (p *Projector) availabilityZone(zone string) *v1alpha1.AvailabilityZone {
	clusters := p.members[zone]
	object := &v1alpha1.AvailabilityZone{
		ObjectMeta: metav1.ObjectMeta{Name: zone, UID: uidOf(p.instance, TypeCluster, clusters[0])},
		Spec: v1alpha1.AvailabilityZoneSpec{
			ClusterComputeResourceMoID:  clusters[0],
			ClusterComputeResourceMoIDs: clusters,
			Namespaces:                  map[string]v1alpha1.NamespaceInfo{},
		},
	}
	for _, at := range p.namespaces {
		if pool := at.pools[zone]; pool != "" {
			object.Spec.Namespaces[at.name] = v1alpha1.NamespaceInfo{PoolMoID: pool, PoolMoIDs: []string{pool}, FolderMoID: at.folder}
		}
	}
	return object
}

// part makes the object of what a namespace has in a zone.
func (p *Projector) part(at place, zone string) *v1alpha1.Zone {
	own := v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{at.pools[zone]}, FolderMoID: at.folder}
	return &v1alpha1.Zone{
		ObjectMeta: metav1.ObjectMeta{
			Name: zone, Namespace: at.name, CreationTimestamp: at.created,
			UID: uidOf(p.instance, TypeCluster, p.members[zone][0], "Namespace", string(at.uid)),
		},
		Spec: v1alpha1.ZoneSpec{
			Namespace:        own,
			ManagedVMs:       own,
			AvailabilityZone: v1alpha1.AvailabilityZoneReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Name: zone},
		},
	}
}
