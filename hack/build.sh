#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Builds the programs into bin/ and shows how far it is: a first build compiles Kubernetes.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# progress counts the packages that `go build -v` names, and lets everything else through.
progress() {
  local program="$1" started="${SECONDS}" count=0 line
  while IFS= read -r line; do
    case "${line}" in
    *[[:space:]:]*) echo "${line}" >&2 && continue ;;
    esac
    count=$((count + 1))
    if [[ -t 2 ]]; then
      printf '\r\033[K%s: %d packages compiled in %d s' "${program}" "${count}" "$((SECONDS - started))" >&2
    elif ((count % 200 == 0)); then
      echo "${program}: ${count} packages compiled in $((SECONDS - started)) s" >&2
    fi
  done
  if [[ -t 2 ]] && ((count > 0)); then
    echo >&2
  fi
}

# build <program> <module directory> <package>
build() {
  (cd "$2" && go build -v -ldflags "${ldflags}" -o "${root}/bin/$1" "$3") 2>&1 | progress "$1"
}

# What `kubectl version` and /version tell: the Kubernetes that is built in.
kubernetes="$(cd cmd/supervisor && go list -m -f '{{.Version}}' k8s.io/kubernetes)"
major="${kubernetes#v}" && major="${major%%.*}"
minor="${kubernetes#v*.}" && minor="${minor%%.*}"
stamp=k8s.io/component-base/version
ldflags="-X ${stamp}.gitVersion=${kubernetes} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor} -X ${stamp}.gitTreeState=clean"

root="${PWD}"
mkdir -p bin
if [[ ! -x bin/supervisor ]]; then
  echo "The first build compiles Kubernetes: 4 to 15 minutes on two cores, seconds from then on." >&2
fi
build vsphere-apiserver . ./cmd/vsphere-apiserver
build kubectl-vsphere . ./cmd/kubectl-vsphere
build supervisor cmd/supervisor .
