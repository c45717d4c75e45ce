#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Generates what follows from the OpenAPI definitions in the tree: the documents in artifacts/openapi, and the
# client that oapi-codegen makes of one of them for the end-to-end tests.
#
#   hack/generate-documents.sh [folder to write to in place of the repository's root]
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root="${PWD}"
output="${1:-${root}}"
documents="${output}/artifacts/openapi"
client="${output}/cmd/supervisor/clients/generated/zz_generated.client.go"

mkdir -p "${documents}" "$(dirname "${client}")"
rm -f "${documents}"/*.json
go run ./hack/openapi "${documents}"

# The generator is pinned in the go.mod of cmd/supervisor. It knows nothing of licence lines.
cd cmd/supervisor
{
  printf '// SPDX-License-Identifier: Apache-2.0\n\n'
  go tool oapi-codegen -config clients/oapi-codegen.yaml "${documents}/apis__vmoperator.vmware.com__v1alpha5_openapi.json"
} >"${client}.new"
mv "${client}.new" "${client}"
