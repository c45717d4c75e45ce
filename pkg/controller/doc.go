// SPDX-License-Identifier: Apache-2.0

// Package controller holds what all controllers share: how keys get into a queue,
// and the workers that take them out.
//
// It owns retries: a key at which something failed comes again after a pause that
// grows, one at which something goes on comes again when it is said to. It knows
// neither Kubernetes' kinds nor vSphere; each package below it is one controller.
package controller
