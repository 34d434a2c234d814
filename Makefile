# Nested modules are separate: no workspace joins them. Only cmd/gamma has a go.work, with
# its replace directives: unset GOWORK to build it.
export GOWORK = off

# How long each fuzz target runs, and the soak.
fuzz: TIME = 60s
soak: TIME = 10m

# What soak chooses its faults by.
SEED = 1

# What spec reads; whether it only reports; whether it keeps the present servers or
# takes the new ones, where they differ; the operations that it removes.
FROM =
CHECK =
SERVERS =
DROP =

# The version that release checks.
VERSION =

ci = sh internal/ci/

.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: ## turn four texts into PDF files, with a fake of Gamma and despite failures
	@cd cmd/gamma && env -u GOWORK go run -buildvcs=false . demo

demo-durable: ## run 500 River jobs through SIGKILL and a restart of PostgreSQL
	@$(ci)postgres.sh
	@cd internal/test/durable && go run -buildvcs=false ./demo

demo-temporal: ## wait in Temporal workflows, on a real server; builds for minutes
	@cd examples/temporal/server && go run -buildvcs=false .

test: ## test the published modules, with the race detector
	@$(ci)test.sh

spec: ## merge the documents of FROM="..." into openapi.json, make api/; CHECK=1 only reports
	@go run -C internal/codegen -buildvcs=false . $(if $(CHECK),-check) -servers '$(SERVERS)' -drop '$(DROP)' $(FROM)

generate: ## make api/ from openapi.json
	go generate ./...

check: check-generate check-document check-modules check-format lint check-durable check-vulnerabilities check-licenses consumer check-command check-examples check-spec check-templates check-soak check-bench check-fuzz check-coverage check-oldest check-prose conformance release ## run everything else that CI does
	@echo 'check: all passed'

lint: ## run go vet and golangci-lint
	@$(ci)lint.sh

fuzz: ## run every fuzz target for TIME=60s each
	@$(ci)fuzz.sh '$(TIME)'

soak: ## run 2,000 generations through failing proxies for TIME=10m; SEED=1
	cd internal/test/soak && go run . -time '$(TIME)' -seed '$(SEED)'

bench: ## measure everything in docs/performance.md, with other clients; takes more than an hour
	go test -run '^$$' -bench . -benchmem ./...
	cd internal/test/durable && go run ./bench
	cd internal/test/bench && go run .

consumer: ## use the SDK as another module does, and check what it costs
	cd internal/test/consumer && go test -count=1 -v ./...

release: ## check that HEAD can be released, make its archive in dist/; VERSION=0.1.0 before a release
	@$(ci)release.sh $(VERSION)

conformance: ## test against Prism, NestJS and nginx; needs Node.js and nginx
	@$(ci)conformance.sh

check-generate:
	@$(ci)generate.sh

check-document:
	@$(ci)document.sh

check-command:
	@$(ci)command.sh

check-durable:
	@$(ci)durable.sh

check-examples:
	@$(ci)browser.sh
	cd examples && go test -race -count=1 ./...

check-spec:
	cd internal/codegen && go test -count=1 ./...

check-templates:
	cd internal/tools/oapi-codegen && go test -count=1 ./...

check-soak:
	cd internal/test/soak && go test -count=1 ./...

check-bench:
	cd internal/test/bench && go test -count=1 ./...

check-prose:
	@$(ci)prose.sh

check-oldest:
	@$(ci)oldest.sh

check-modules:
	@$(ci)modules.sh

check-format:
	@echo 'check: gofmt'
	@files=$$(gofmt -l .) && if [ -n "$$files" ]; then echo "check: run gofmt -w on:"; echo "$$files"; exit 1; fi

check-licenses:
	@$(ci)licenses.sh
	cd internal/tools/licenses && go test -count=1 ./...

check-vulnerabilities:
	@$(ci)vulnerabilities.sh

check-fuzz:
	@$(ci)fuzz.sh 10000x

check-coverage:
	@$(ci)coverage.sh 95 . ./poller

.PHONY: help demo demo-durable demo-temporal test spec generate check lint fuzz soak bench consumer conformance release check-generate check-licenses check-command check-durable check-examples check-spec check-templates check-soak check-bench check-document check-modules check-format check-vulnerabilities check-fuzz check-coverage check-oldest check-prose
