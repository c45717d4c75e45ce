// SPDX-License-Identifier: Apache-2.0

// Package topology is the kinds availabilityzones and zones in
// topology.tanzu.vmware.com: reads alone, since what they show is vCenter's.
//
// Everybody who is logged in may read AvailabilityZones, and is shown in each only
// those namespaces that they see; an Access says which. When it cannot be known,
// nothing is shown: the request is answered with 503, and a watch ends. A right
// that comes or goes shows with the next read, or with the next event of the zone.
// Zones lie in namespaces, and who may read there is shown all of them.
//
// No other verbs are offered. Kubernetes' own controllers pass over resources that
// cannot be deleted: a Namespace does not wait for its Zones to go.
//
// The package knows nothing of vSphere.
package topology
