// SPDX-License-Identifier: Apache-2.0

// Package projection maps vCenter's clusters, and the resource pools that vSphere
// Namespaces have in them, to AvailabilityZones and Zones.
//
// A zone is all clusters of one name. It is named as the projection of vSphere
// Namespaces names it, so that the names agree. What pools a vSphere Namespace has
// is taken from its status, and not found out a second time: the Projector is given
// the vSphere Namespaces as they are served. In which zone a pool is it knows by
// itself, so that a cluster that is renamed is one change here, whenever the vSphere
// Namespaces tell of it.
//
// All is read only and lasts as long as what it shows. The uids are made of
// vCenter's id, the cluster's and the vSphere Namespace's, and stay the same over
// restarts. A cluster that is renamed is a zone that went and another one that
// came, with the same uid.
package projection
