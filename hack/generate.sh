#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Generates pkg/generated: the OpenAPI definitions of every type that the server serves, and of our own groups the
# clientset, the listers, the informers and the apply configurations; and the deep copies next to our types.
#
#   hack/generate.sh [folder to write to in place of the repository's root]
#
# openapi-gen skips a package without the tag +k8s:openapi-gen=true in silence and looks for it in doc.go
# alone. Some packages of github.com/vmware-tanzu/vm-operator/api have neither, and a server with a
# definition missing panics when it starts. So the definitions are made from a copy of that module in which
# every package has such a doc.go. A second go.mod points at the copy; the repository's own is not touched.
set -o errexit -o nounset -o pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
package=github.com/openpacific/pacific/pkg/generated/openapi
module=github.com/vmware-tanzu/vm-operator/api
output="${1:-${root}}"

work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
cd "${root}"

# The tool is built from the go.mod of the repository, so that its version is pinned there.
generator="${work}/openapi-gen"
GOWORK=off go build -o "${generator}" k8s.io/kube-openapi/cmd/openapi-gen

GOWORK=off go mod download "${module}"
source="$(GOWORK=off go list -m -f '{{.Dir}}' "${module}")"
cp -R "${source}" "${work}/api"
chmod -R u+w "${work}/api"

# openapi-gen refuses a field whose struct tag asks for a merge key and whose comment does not: say it in both.
find "${work}/api/v1alpha1" -name '*_types.go' | while IFS= read -r file; do
  awk '
    /^[ \t]*\/\// { if (/\+patchStrategy=/) tagged = 1; print; next }
    /patchStrategy:"merge"/ && !tagged {
      key = $0; sub(/.*patchMergeKey:"/, "", key); sub(/".*/, "", key)
      print "\t// +patchStrategy=merge"; print "\t// +patchMergeKey=" key
    }
    { tagged = 0; print }
  ' "${file}" >"${file}.tagged"
  mv "${file}.tagged" "${file}"
done

inputs=()
for version in v1alpha1 v1alpha2 v1alpha3 v1alpha4 v1alpha5; do
  for directory in "${version}" "${version}/common" "${version}/cloudinit" "${version}/sysprep"; do
    [[ -d "${work}/api/${directory}" ]] || continue
    if [[ ! -f "${work}/api/${directory}/doc.go" ]]; then
      printf '// +k8s:openapi-gen=true\n\npackage %s\n' "$(basename "${directory}")" >"${work}/api/${directory}/doc.go"
    fi
    inputs+=("${module}/${directory}")
  done
done

cp go.mod "${work}/go.mod"
cp go.sum "${work}/go.sum"
go mod edit -replace "${module}=${work}/api" "${work}/go.mod"
printf '// SPDX-License-Identifier: Apache-2.0\n\n' >"${work}/boilerplate.go.txt"

mkdir -p "${work}/out"
GOWORK=off GOFLAGS="${GOFLAGS:-} -mod=mod -modfile=${work}/go.mod" "${generator}" \
  --go-header-file "${work}/boilerplate.go.txt" \
  --output-dir "${work}/out" \
  --output-pkg "${package}" \
  --output-file zz_generated.openapi.go \
  --report-filename "${work}/violations.txt" \
  k8s.io/apimachinery/pkg/apis/meta/v1 \
  k8s.io/apimachinery/pkg/runtime \
  k8s.io/apimachinery/pkg/version \
  k8s.io/apimachinery/pkg/api/resource \
  k8s.io/apimachinery/pkg/util/intstr \
  k8s.io/api/core/v1 \
  github.com/openpacific/pacific/pkg/apis/topology/v1alpha1 \
  github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1 \
  "${inputs[@]}"

mkdir -p "${output}/pkg/generated/openapi"
cp "${work}/out/zz_generated.openapi.go" "${output}/pkg/generated/openapi/zz_generated.openapi.go"

# Our own groups: deep copies first, which everything else is compiled with.
ours=github.com/openpacific/pacific
groups=(topology/v1alpha1 vsphere/v1alpha1)
types=("${groups[@]/#/${ours}/pkg/apis/}")
generated="${ours}/pkg/generated"
for tool in deepcopy-gen applyconfiguration-gen client-gen lister-gen informer-gen; do
  GOWORK=off go build -o "${work}/${tool}" "k8s.io/code-generator/cmd/${tool}"
done
export GOWORK=off
header=(--go-header-file "${work}/boilerplate.go.txt")

# deepcopy-gen writes next to what it reads.
"${work}/deepcopy-gen" "${header[@]}" --output-file zz_generated.deepcopy.go "${types[@]}"
if [[ "${output}" != "${root}" ]]; then
  for group in "${groups[@]}"; do
    mkdir -p "${output}/pkg/apis/${group}"
    cp "${root}/pkg/apis/${group}/zz_generated.deepcopy.go" "${output}/pkg/apis/${group}/"
  done
fi

for part in applyconfiguration clientset listers informers; do
  rm -rf "${output}/pkg/generated/${part}"
done
"${work}/applyconfiguration-gen" "${header[@]}" \
  --output-dir "${output}/pkg/generated/applyconfiguration" --output-pkg "${generated}/applyconfiguration" "${types[@]}"
# The generator calls the file in which it looks up kinds utils.go.
mv "${output}/pkg/generated/applyconfiguration/utils.go" "${output}/pkg/generated/applyconfiguration/kinds.go"
"${work}/client-gen" "${header[@]}" --clientset-name versioned --input-base "" --input "$(IFS=,; echo "${types[*]}")" \
  --apply-configuration-package "${generated}/applyconfiguration" \
  --output-dir "${output}/pkg/generated/clientset" --output-pkg "${generated}/clientset"
"${work}/lister-gen" "${header[@]}" \
  --output-dir "${output}/pkg/generated/listers" --output-pkg "${generated}/listers" "${types[@]}"
"${work}/informer-gen" "${header[@]}" \
  --versioned-clientset-package "${generated}/clientset/versioned" --listers-package "${generated}/listers" \
  --output-dir "${output}/pkg/generated/informers" --output-pkg "${generated}/informers" "${types[@]}"
