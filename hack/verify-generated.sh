#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Fails when the generated code in the tree is not what hack/generate.sh makes of it now.
set -o errexit -o nounset -o pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
fresh="$(mktemp -d)"
trap 'rm -rf "${fresh}"' EXIT

"${root}/hack/generate.sh" "${fresh}"
for file in "${fresh}"/zz_generated.*.go; do
  if ! diff -u "${root}/pkg/generated/openapi/$(basename "${file}")" "${file}" | head -n 40; then
    echo "pkg/generated/openapi is out of date: run make generate and commit the result" >&2
    exit 1
  fi
done
