// SPDX-License-Identifier: Apache-2.0

// Package openapi holds the OpenAPI definitions of every type that the server
// serves. hack/generate.sh writes them; nobody edits them. Use them through
// pkg/apis/openapi, which gives the models their names.
package openapi
