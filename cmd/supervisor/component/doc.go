// SPDX-License-Identifier: Apache-2.0

// Package component is what `supervisor up` runs as its children: the hidden commands `supervisor component NAME`, each
// of which turns the process into one component, with that component's own flags. A component is built only in the
// process that runs it: kube-apiserver and kube-controller-manager register feature gates and metrics for a whole
// process, so that two of them in one would disturb each other.
package component
