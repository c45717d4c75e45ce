#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Fails when generated files in the tree are not what the scripts make of the tree now. The documents come from
# the definitions, and the client from a document: each is looked at when what it comes from is known to be right.
set -o errexit -o nounset -o pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "${root}"
fresh="$(mktemp -d)"
trap 'rm -rf "${fresh}"' EXIT

# same <folder>...: the folders hold in the tree what they hold in ${fresh}, file by file.
same() {
  local folder
  for folder in "$@"; do
    if ! diff --recursive --unified --exclude=doc.go "${root}/${folder}" "${fresh}/${folder}" | head -n 40; then
      echo "${folder} is out of date: run make generate and commit the result" >&2
      exit 1
    fi
  done
}

# Deep copies are written into the tree itself.
copies=(pkg/apis/*/*/zz_generated.deepcopy.go)
for file in "${copies[@]}"; do
  mkdir -p "${fresh}/before/$(dirname "${file}")"
  cp "${root}/${file}" "${fresh}/before/${file}"
done
"${root}/hack/generate.sh" "${fresh}"
for file in "${copies[@]}"; do
  if ! cmp "${fresh}/before/${file}" "${fresh}/${file}"; then
    echo "${file} was out of date; it is right now: commit it" >&2
    exit 1
  fi
done
same pkg/generated

"${root}/hack/generate-documents.sh" "${fresh}"
same artifacts/openapi cmd/supervisor/clients/generated
