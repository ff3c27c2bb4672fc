# `make` alone lists the targets.

GO       ?= go
BIN      := bin/pgroute
PAIRS    ?= 200000
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo test vet race perf stress mutants bench fuzz lint cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install PostgreSQL, ZooKeeper and PgBouncer where they are missing (Debian)
	@scripts/setup.sh

build: ## build bin/pgroute
	$(GO) build -o $(BIN) ./cmd/pgroute

demo: setup build ## a cluster, a proxy and the story, in this terminal
	./$(BIN) demo

test: setup vet race perf ## everything that must be green before a commit

vet:
	$(GO) vet ./...

race: setup
	$(GO) test -race -timeout 20m ./...

# Allocations, memory and time mean nothing under the race detector.
perf: setup
	$(GO) test -count=1 -timeout 10m -run 'Alloc|Memory|Perf' ./...

stress: setup ## the never-stale test at its full length (PAIRS=200000)
	$(GO) test ./internal/stress -count=1 -run TestNeverStale -stress.pairs=$(PAIRS) -timeout 60m -v

mutants: setup ## switch off each rule in turn: the tests must notice
	$(GO) test -tags pgroute_mutants ./internal/stress -count=1 -run TestMutants -timeout 60m -v

bench: setup ## direct, pgroute and PgBouncer side by side (BENCH=--quick: two minutes)
	$(GO) run ./internal/bench $(BENCH)

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
