#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Builds kubectl-vsphere for each platform into dist/: an archive each, SHA256SUMS, and the manifest for krew.
# The same commit and the same Go give the same bytes. hack/release.sh v0.1.0
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version="${1:-$(git describe --tags --always --dirty 2>/dev/null || echo v0.0.0)}"
base="${BASE:-https://github.com/openpacific/pacific/releases/download/${version}}"
package=github.com/openpacific/pacific/plugin/version

rm -rf dist
mkdir -p dist
work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
# The time in the archives: that of the commit, not of the build.
epoch="$(git log -1 --format=%ct)"
: >"${work}/platforms"

for os in linux darwin windows; do
  for arch in amd64 arm64; do
    program=kubectl-vsphere
    [[ "${os}" == windows ]] && program=kubectl-vsphere.exe
    folder="${work}/${os}-${arch}"
    mkdir -p "${folder}"
    echo "release: ${os}/${arch}" >&2
    CGO_ENABLED=0 GOOS="${os}" GOARCH="${arch}" GOWORK=off go build -trimpath -buildvcs=true \
      -ldflags "-s -w -X ${package}.release=${version}" -o "${folder}/${program}" ./cmd/kubectl-vsphere
    cp LICENSE "${folder}/"
    files=("${program}" LICENSE)
    if [[ "${os}" != windows ]]; then
      cp artifacts/krew/kubectl_complete-vsphere "${folder}/"
      files+=(kubectl_complete-vsphere)
    fi
    archive="kubectl-vsphere-${os}-${arch}.tar.gz"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${epoch}" --mode='u+rwX,go+rX,go-w' \
      --directory "${folder}" "${files[@]}" | gzip --no-name --best >"dist/${archive}"
    {
      echo "  - selector:"
      echo "      matchLabels: {os: ${os}, arch: ${arch}}"
      echo "    uri: ${base}/${archive}"
      echo "    sha256: $(sha256sum "dist/${archive}" | cut -d ' ' -f 1)"
      echo "    bin: ${program}"
    } >>"${work}/platforms"
  done
done

sed -e '/^#/d' -e "s|@VERSION@|${version}|" -e "/@PLATFORMS@/{r ${work}/platforms
d}" artifacts/krew/vsphere.yaml >dist/vsphere.yaml
(cd dist && sha256sum ./*.tar.gz vsphere.yaml | sed 's|\./||' >SHA256SUMS)
cat dist/SHA256SUMS
