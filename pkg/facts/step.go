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
	// Resumed says that nobody looked on for a while before this step: what differs
	// may be the same object, or another one that has its id.
	Resumed bool
	// Root is the namespaces folder.
	Root ID

	// Namespaces are all folders that stand for one, by id. The list is the same one as
	// long as nothing in it differs.
	Namespaces []Namespace
	// Detached are the folders whose namespaces were deleted, wherever they lie now.
	Detached map[ID]bool

	// What is new or differs. A machine differs also when it is where it lies or
	// runs that does.
	Machines   []*Live
	Folders    []Folder
	Clusters   []Cluster
	Hosts      []Host
	Pools      []Pool
	Networks   []Network
	Datastores []Datastore

	// Removed are the objects that are gone, or lie no longer where they are
	// followed. They may be of types that the step has nothing else of.
	Removed []ID
}

// Namespace is a folder that stands for a namespace.
type Namespace struct {
	// Name is the namespace's in Kubernetes. Empty: the folder was granted none yet.
	Name   string
	Folder ID
	// Path is the folder's name below the namespaces folder, as the vSphere Client
	// shows it.
	Path string
	// Refused is the folder's own name where it has another because a Kubernetes
	// Namespace of that name is not its.
	Refused string
	// Detached says that the namespace was deleted in Kubernetes while the folder
	// stayed in vCenter.
	Detached bool
}

// Follower takes the steps in order, one at a time.
type Follower interface {
	Take(Step)
}
