// SPDX-License-Identifier: Apache-2.0

// Package process keeps child processes alive. A Child is started, probed until it is ready, started again when it
// dies, and stopped with SIGTERM and, after a deadline, SIGKILL. No child outlives the process that started it.
//
// The package knows nothing of Kubernetes or vCenter: what to run and how to tell that it is ready comes from its user.
package process
