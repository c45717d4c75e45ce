// SPDX-License-Identifier: Apache-2.0

// The client is made by hack/generate-documents.sh from
// artifacts/openapi/apis__vmoperator.vmware.com__v1alpha5_openapi.json.

package generated
