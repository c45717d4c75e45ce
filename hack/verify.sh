#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Checks what needs no running server: formatting, vet, tidiness, generated code, and that scripts parse.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { echo "verify: $*" >&2; }

step "formatting"
unformatted="$(git ls-files '*.go' | xargs gofmt -l)"
if [[ -n "${unformatted}" ]]; then
  echo "not formatted, run gofmt -w on:" >&2
  echo "${unformatted}" >&2
  exit 1
fi

step "licence lines"
unlicensed="$(git ls-files '*.go' '*.sh' Makefile | xargs grep -L 'SPDX-License-Identifier: Apache-2.0' || true)"
if [[ -n "${unlicensed}" ]]; then
  echo "without a line SPDX-License-Identifier: Apache-2.0:" >&2
  echo "${unlicensed}" >&2
  exit 1
fi

for script in hack/*.sh .ci/run; do
  bash -n "${script}"
done

for module in . cmd/supervisor; do
  step "vet ${module}"
  (cd "${module}" && go vet ./...)
  step "go.mod of ${module} is tidy"
  (cd "${module}" && GOWORK=off go mod tidy -diff)
done

step "generated code"
hack/verify-generated.sh
