// SPDX-License-Identifier: Apache-2.0

// Package clients tests what programs that nobody here wrote make of the
// OpenAPI documents: oapi-codegen, whose client is in generated/, and kubectl.
// It also holds the documents in artifacts/openapi equal to what a running
// Supervisor serves. It holds tests only, against a Supervisor of its own on a
// simulated vCenter; they run the binary that SUPERVISOR names, or build one.
package clients
