// SPDX-License-Identifier: Apache-2.0

package facts

// Step is one consistent step of what is known of one vCenter: everything, or what
// changed since the step before. It and what it holds are shared: nobody changes
// them.
type Step struct {
	// VCenter is vCenter's own id.
	VCenter string
	// Initial says that the step is everything there is, and what was known before
	// counts no more.
	Initial bool
	// Root is the namespaces folder.
	Root ID

	// What is new or differs.
	Folders  []Folder
	Clusters []Cluster
	Hosts    []Host
	Pools    []Pool
	Networks []Network

	// Removed are the objects that are gone, or lie no longer where they are
	// followed. They may be of types that the step has nothing else of.
	Removed []ID
}

// Follower takes the steps in order, one at a time.
type Follower interface {
	Take(Step)
}
