// SPDX-License-Identifier: Apache-2.0

// Package vmoperator holds the names and marks in vmoperator.vmware.com that vm-operator's own module leaves to those
// who implement it, each once. It depends on that module's types alone, so that every layer may import it.
package vmoperator
