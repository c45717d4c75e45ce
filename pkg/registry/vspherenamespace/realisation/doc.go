// SPDX-License-Identifier: Apache-2.0

// Package realisation carries out in vCenter what is asked of vSphere Namespaces.
//
// Creating writes the record first and then goes on to what it says: folder, pools, limits. Each step looks at what is
// there already, so that whoever comes after a kill finishes it: Backend.Realise for what is wanted, Backend.Dismantle
// for what is to go. Before something is made the record says so: what could not be written down any more is found by
// its name, while nothing lies in it that limits and roles would reach: a folder has to be empty, a pool may have
// machines of the namespace in it. Everything else of that name is somebody else's, and is taken over only where the spec
// names its id. Nothing is destroyed but what Pacific made, by the record, and that only while it is empty, by what
// vCenter itself says directly before.
//
// The package decides, by what the projection knows; what it decides is done by verbs in vCenter's nouns, and kept by
// whoever keeps the records. It knows neither vCenter nor etcd nor the API server: it declares what it needs.
package realisation
