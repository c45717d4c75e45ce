// SPDX-License-Identifier: Apache-2.0

// Package namespace keeps a core Namespace for each vCenter folder that is a
// vSphere Namespace, and detaches the folder of a Namespace that somebody
// deletes.
//
//	folder, no Namespace            ──▶ create the Namespace
//	folder, Namespace terminating   ──▶ detach the folder: what Pacific did not make is no longer
//	                                    served, so that the deletion can finish; vCenter keeps it
//	detached folder, new Namespace  ──▶ attach it again
//	no folder, Namespace            ──▶ nothing: what else lies in the Namespace is not ours to delete
//
// It knows folders by their managed-object ids only, and depends on neither
// govmomi nor the API of virtual machines.
package namespace
