// SPDX-License-Identifier: Apache-2.0

// Package e2e tests a whole Supervisor from outside, as its users meet it: kubectl and clients through the real
// aggregator, a VI admin through vCenter's own API. It holds tests only. They run the binary that SUPERVISOR names, or
// build one; `make e2e` does both. What a failed run leaves, logs included, is in the folder that it names at its end.
//
// The tests share one Supervisor on a simulated vCenter, each in namespaces of its own, and run at the same time. So
// none of them breaks anything: what does is in package faults.
//
//   - testdata/script: what a new user types, with the answers. TestKubectl describes the commands.
//   - watch_test.go: what happens in vCenter, at watchers, and how soon.
//   - client_test.go: an informer that may not list twice, controller-runtime with vm-operator's types, the dynamic client.
//   - namespace_test.go: deletion of Namespaces, garbage collection and quota, by the real kube-controller-manager.
//   - metadata_test.go: machines whose names or metadata somebody in vCenter swapped, cloned or broke.
//   - input_test.go: bad input, and many writers at once.
//   - access_test.go: who may do what, and who is not believed.
//   - people_test.go, login_test.go: what the people of the simulated vCenter may do, and how that changes.
//   - attack_token_test.go, attack_request_test.go: forged tokens and odd requests, at both of the addresses.
//   - attack_access_test.go, attack_hidden_test.go: who raises their role, takes a name, or looks at what is not theirs.
//   - authority_test.go: what somebody can compare who knows the Supervisor's certificates from nowhere.
//   - etcd_test.go: what the servers may read in etcd of one another.
//   - conformance_test.go: Kubernetes' own test of an API resource.
//
// # What the conformance test covers
//
// conformance.TestResource runs whole but for two things. The server does not create virtual machines yet, so the
// client's transport turns each POST into what a VI admin can do: the machine is made in vCenter, with the metadata of
// one that Pacific made, and the answer is what the server then serves under that name. So the POST itself is not
// covered; all else is, against the server: discovery, GET, PUT with its retry, four kinds of patch with strict
// validation, LIST in one and in all namespaces, DELETE, deletion of a collection, the absence of what was deleted, and
// after each step that two informers have exactly the events that it makes, with versions that never fall. The steps on
// the status subresource are left out, because status cannot be written; that this is refused is in
// testdata/script/refuse.txtar. Content is not compared there: in this version of TestResource a comparison that finds
// no difference is reported as a failure; client_test.go compares whole objects.
package e2e
