# SPDX-License-Identifier: Apache-2.0

# Everything needs Go and make, nothing else. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What the tests run with: Kubernetes' own checks that caches are not changed and that watches decode.
TEST_ENV := KUBE_CACHE_MUTATION_DETECTOR=true KUBE_PANIC_WATCH_DECODE_ERROR=true
# The tests of a whole Supervisor run this binary.
ON_BINARY := SUPERVISOR=$(CURDIR)/bin/supervisor $(TEST_ENV)
# The race detector wants a C compiler; without one the tests run all the same.
RACE ?= $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
bench: N ?= 10000
kills: N ?= 100
load: N ?= 200
calls: N ?= 0
writers: N ?= 1000

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/supervisor, bin/vsphere-apiserver and bin/kubectl-vsphere. The first time takes minutes: Kubernetes is in it.
	@hack/build.sh

.PHONY: run
run: build ## Start a Supervisor on a simulated vCenter; Ctrl-C stops it.
	bin/supervisor up --sim $(UP)

.PHONY: test
test: unit e2e faults ## Run all tests.

.PHONY: unit
unit: ## Run the tests of the importable module, with the race detector where there is a C compiler.
	$(TEST_ENV) go test $(RACE) -timeout 20m ./...

.PHONY: e2e
e2e: build ## Run the tests of the Supervisor, end to end through the real aggregator.
	cd cmd/supervisor && $(ON_BINARY) go test -count=1 -timeout 30m $$(go list ./... | grep -v /faults$$)

.PHONY: faults
faults: build ## Run the tests that kill, stop and fill up Supervisors of their own.
	cd cmd/supervisor && $(ON_BINARY) go test -count=1 -timeout 30m ./faults

.PHONY: kills
kills: build ## Make 100 faults at random (deaths, other leaders, renames, moves, roles taken) while vSphere Namespaces come and go, and then while machines do; N=100, SEED= of a run before, else the date.
	cd cmd/supervisor && $(ON_BINARY) KILLS=$(N) MACHINE_KILLS=$(N) KILLS_SEED=$(SEED) go test -count=1 -timeout 60m -run '^(TestKills|TestMachineKills)$$' ./faults

.PHONY: calls
calls: build ## Make, resize and delete machines with each call to vCenter going wrong once, and the server killed; N=20 is how many calls, at random by SEED=, else all.
	cd cmd/supervisor && $(ON_BINARY) CALLS=$(N) CALLS_SEED=$(SEED) go test -count=1 -timeout 120m -v -run '^TestEachCall$$' ./faults

.PHONY: writers
writers: build ## Have fifty clients and a VI admin change one machine at the same time, 1,000 times; N=20 is how often.
	cd cmd/supervisor && $(ON_BINARY) ROUNDS=$(N) go test -count=1 -timeout 120m -v -run '^TestManyWriters$$' ./e2e

.PHONY: renewal
renewal: build ## Run a Supervisor for ten minutes on certificates of two, while watches and kubectl go on.
	cd cmd/supervisor && $(ON_BINARY) RENEWAL_LIFE=2m RENEWAL_TIME=10m go test -count=1 -timeout 30m -v -run '^TestCertificatesAreRenewed$$' ./faults

.PHONY: load
load: build ## Ask for 200 machines at once, leave 1,000 alone for ten minutes, and copy disks for 30 seconds, with the figures; N=200 says how many.
	cd cmd/supervisor && $(ON_BINARY) CREATES=$(N) STANDING=1000 IDLE_SECONDS=600 SLOW_SECONDS=30 go test -count=1 -timeout 40m -v -run '^(TestManyMachines|TestIdleMachines|TestSlowVCenter)$$' ./faults

.PHONY: bench
bench: build ## Compare our VirtualMachines with the same objects as a CRD, N=10000 says how many, and create with a bare CreateVM_Task.
	hack/bench.sh $(N)
	cd cmd/supervisor && $(ON_BINARY) go test -count=1 -v -run '^TestManyMachines$$' ./faults

.PHONY: release
release: ## Build kubectl-vsphere for all platforms into dist/, with checksums; VERSION=v0.1.0 names it.
	hack/release.sh $(VERSION)

.PHONY: generate
generate: ## Generate the generated code and OpenAPI documents anew.
	hack/generate.sh
	hack/generate-documents.sh

.PHONY: verify
verify: ## Check formatting, vet, tidiness and that generated code is up to date.
	hack/verify.sh
