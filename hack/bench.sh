#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Compares our VirtualMachines with the same objects as a CRD: hack/bench.sh [number of machines] [flags of supervisor bench].
# It needs bin/supervisor, which `make build` makes, and takes about five minutes for 10,000 machines.
set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

machines="${1:-10000}"
shift || true
exec bin/supervisor bench --machines "${machines}" "$@"
