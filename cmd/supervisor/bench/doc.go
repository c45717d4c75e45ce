// SPDX-License-Identifier: Apache-2.0

// Package bench is `supervisor bench`: in one run, through one aggregator, it compares the virtual machines that
// vsphere-apiserver serves with the same objects, byte for byte as long, as custom resources in the same
// kube-apiserver.
//
// It starts `supervisor up` with a synthetic inventory as a process of its own, fills a CustomResourceDefinition with
// what it reads there, asks both for the same things by turns, and prints medians and what the servers took for it. The
// client reads answers whole and unpacks them, but does not decode them: that costs the same on both sides.
package bench
