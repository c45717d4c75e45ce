// SPDX-License-Identifier: Apache-2.0

// Package virtualmachineclass is the kind virtualmachineclasses.vmoperator.vmware.com: how large a virtual machine is,
// and what it is guaranteed.
//
// A class exists in no vCenter: it is declared, in the namespace in which it may be used. The Supervisor's sixteen are
// data of this package. When a vSphere Namespace is given a class of such a name, the Controller makes it there, once:
// what an administrator changes then stays as it is, and what they delete stays away, until the class is given anew.
// Other classes are made by those who may update the vSphere Namespace in the whole cluster, since a class says how
// much of vCenter may be taken. A class that is there and not given is shown, and refused when somebody uses it.
//
// It knows nothing of vSphere.
package virtualmachineclass
