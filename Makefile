# `make` alone lists the targets.

GO       ?= go
BIN      := bin/pgroute
PAIRS    ?= 200000
SOAK     ?= 5m
CLIENTS  ?= 1000
ATTEMPTS ?= 100000
FUZZTIME ?= 20s
CHAOS    ?= 1h
SEED     ?=
MODE     ?=
TIMES    ?= 100
EASE     ?= 50ms
CONFORMANCE ?=
VERSIONS ?= 13 15 17 18 19
PG       ?= 15 19
FLEET    ?= 200

# Modules of their own, so that their dependencies are nobody else's.
MODULES  := $(patsubst %/go.mod,%,$(wildcard */*/go.mod))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo-setup build demo story test vet race perf modules stress soak fire patroni chaos quickchaos simulate switchovers failovers wakeup outage fleet mutants bench versions fuzz conformance lint cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the tests need where it is missing (Debian): PostgreSQL, ZooKeeper, Chromium, …
	@scripts/setup.sh

demo-setup:
	@scripts/setup.sh --demo

build: ## build bin/pgroute, bin/booking and bin/booklab
	$(GO) build -o bin/ ./cmd/pgroute ./examples/booking ./internal/booklab

demo: demo-setup build ## the booking service in three instances over a cluster, and its page (DEMO=--help)
	./bin/booklab $(DEMO)

story: demo-setup build ## a cluster, a proxy and a story, in this terminal
	./$(BIN) demo

test: setup vet race perf modules quickchaos ## everything that must be green before a commit (with the modules of their own and three minutes of chaos)

vet:
	$(GO) vet ./...

race: setup
	$(GO) test -race -timeout 30m ./...

# Allocations, memory and time mean nothing under the race detector.
perf: setup
	$(GO) test -count=1 -timeout 10m -run 'Alloc|Memory|Perf' ./...

modules: setup
	@set -e; for module in $(MODULES); do \
	  echo "== $$module"; (cd $$module && $(GO) vet ./... && $(GO) test -race -timeout 20m ./...); done

fire: setup ## the booking service under fire at full length (ATTEMPTS=100000)
	$(GO) test ./internal/booklab/fire -count=1 -run TestBookingUnderFire -timeout 90m -v \
	  -fire.attempts=$(ATTEMPTS) -fire.clients=200 -fire.seats=5000

stress: setup ## the never-stale test at its full length (PAIRS=200000)
	$(GO) test ./internal/stress -count=1 -run TestNeverStale -stress.pairs=$(PAIRS) -timeout 60m -v

soak: setup ## many clients over few server connections, each watches its own state (SOAK=5m CLIENTS=1000)
	$(GO) test ./internal/soak -count=1 -run TestSoak -timeout 6h -v -soak.for=$(SOAK) -soak.clients=$(CLIENTS)

patroni: setup ## a router through all that can happen to a real cluster of Patroni
	$(GO) test ./router/zookeeper -count=1 -run TestRouterFollowsPatroniThroughFaults -timeout 30m -v -patroni.full

chaos: setup ## a Patroni cluster, ZooKeeper and three proxies under a nemesis (CHAOS=1h in each mode; SEED= MODE=sync|async|both)
	$(GO) test ./internal/chaos -count=1 -run 'TestChaos|TestOldPrimary' -timeout 8h -v -chaos.for=$(CHAOS) $(if $(SEED),-chaos.seed=$(SEED)) $(if $(MODE),-chaos.mode=$(MODE))

quickchaos: setup ## three minutes of it
	$(GO) test ./internal/chaos -count=1 -timeout 20m -v -chaos.ci

simulate: ## deterministic schedules of the router and the machine over a model cluster (SOAK=5m SEED=)
	$(GO) test ./proxy/internal/simulation -count=1 -run TestSchedules -timeout 24h -v -simulation.for=$(SOAK) $(if $(SEED),-simulation.seed=$(SEED))

switchovers: setup ## planned switchovers of a Patroni cluster under pgbench and the booking example (TIMES=100 EASE=50ms)
	$(GO) test ./internal/stress -count=1 -run 'TestSwitchover$$' -timeout 4h -v -stress.strict -stress.switchovers=$(TIMES) -stress.ease=$(EASE)

failovers: setup ## kill -9 of the primary of a Patroni cluster under load (TIMES=100)
	$(GO) test ./internal/stress -count=1 -run 'TestFailovers$$' -timeout 4h -v -stress.strict -stress.failovers=$(TIMES)

wakeup: setup ## wake-ups beside a busy poller, polling and WAIT FOR LSN (PG='15 19')
	@scripts/versions.sh --install $(PG)
	@set -e; for v in $(PG); do echo "== PostgreSQL $$v"; PGROUTE_PG_VERSION=$$v \
	  $(GO) test ./internal/stress -count=1 -run 'TestWakeUp$$' -timeout 60m -v -stress.wakes=5000 -stress.wake-max=1ms; done

outage: setup ## ZooKeeper is away for a minute, with our own layout and with Patroni
	$(GO) test ./internal/stress -count=1 -run 'TestNobodyNoticesThatZooKeeperIsAway|TestPatroniDemotesWithoutZooKeeper' -timeout 30m -v -stress.outage=60s

fleet: setup ## many routers against one cluster (FLEET=200)
	$(GO) test ./internal/stress -count=1 -run 'TestFleet$$' -timeout 60m -v -stress.fleet=$(FLEET) -stress.fleet-for=10s

mutants: setup ## switch off each rule in turn: the tests must notice
	$(GO) test -tags pgroute_mutants ./internal/stress ./internal/soak ./internal/verify ./router ./proxy/internal/client ./proxy/internal/simulation -count=1 -run Mutants -timeout 60m -v
	$(GO) test -tags pgroute_mutants ./internal/chaos -count=1 -run Mutants -timeout 60m -v

bench: setup ## direct, pgroute and PgBouncer side by side (BENCH=--quick: two minutes)
	$(GO) run ./internal/bench $(BENCH)

versions: setup ## the core tests with each PostgreSQL of VERSIONS ('13 15 17 18 19'), unpacked where it is missing
	@scripts/versions.sh $(VERSIONS)

conformance: setup ## PostgreSQL's and the drivers' own test suites, direct and through pgroute (CONFORMANCE='-suites regress')
	scripts/conformance.sh
	$(GO) run ./internal/conformance $(CONFORMANCE)

fuzz: ## every fuzz target for FUZZTIME (20s)
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

lint: ## golangci-lint if it is installed, else vet and gofmt
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; else \
	  $(GO) vet ./... && unformatted=$$(gofmt -l .) && \
	  if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi; fi

cover: setup ## coverage of the whole module, in build/cover.html
	@mkdir -p build
	$(GO) test -timeout 20m -coverpkg=./... -coverprofile=build/cover.out ./...
	$(GO) tool cover -html=build/cover.out -o build/cover.html
	@$(GO) tool cover -func=build/cover.out | tail -1

clean: ## remove what the targets above made
	rm -rf bin build
