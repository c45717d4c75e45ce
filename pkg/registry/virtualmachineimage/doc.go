// SPDX-License-Identifier: Apache-2.0

// Package virtualmachineimage is the kinds virtualmachineimages and clustervirtualmachineimages in
// vmoperator.vmware.com: what virtual machines can be made of. Reads alone, since what they show lies in vCenter's
// content libraries.
//
// A Projection is told what lies in the libraries, and which vSphere Namespaces are given which. An image shows in each
// namespace whose vSphere Namespace is given its library; one of a library that counts as given to all, as a
// clustervirtualmachineimage besides. It is named by the identifier of its item, so that all names of one item are the
// same, and says of itself what its OVF descriptor says, as vm-operator understands it. What cannot be read now stands
// as it was read last, and the condition Ready says why it may be out of date.
//
// The package knows neither vCenter nor any other kind.
package virtualmachineimage
