# Two commands are for everybody: `make run` and `make test`. The others are for working on haproxy-api.

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 30s

.PHONY: run test build lint generate fuzz chaos soak cross

# Runs the demo, or with FOLLOW=host:port follows that Sidecar. Installs HAProxy if it is missing.
run: build
	@scripts/install-deps run
	@bin/haproxy-api demo $(if $(FOLLOW),--follow $(FOLLOW))

# Installs what the tests need and runs all of them: with HAProxy 2.6, and what runs a HAProxy with 3.0 too. Where
# scripts/install-deps cannot get these, it is the installed one that is tested.
test:
	@scripts/install-deps test
	go vet ./...
	TEST_HAPROXY=$$(ls $(CURDIR)/.haproxy/2.6/haproxy 2>/dev/null) go test -race -timeout 40m ./...
	@if [ -x .haproxy/3.0/haproxy ]; then \
		echo "testing with HAProxy 3.0"; \
		TEST_HAPROXY=$(CURDIR)/.haproxy/3.0/haproxy go test -race -timeout 40m ./sinks/haproxy/... ./cmd/haproxy-api/...; \
	fi
	@for module in examples/*/go.mod; do \
		echo "testing $$(dirname $$module)"; \
		(cd $$(dirname $$module) && go vet ./... && go test -race -timeout 10m ./...) || exit 1; \
	done

build:
	@scripts/install-deps build
	go build -o bin/haproxy-api ./cmd/haproxy-api

lint:
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...

generate:
	go generate ./...

# Every fuzz target for FUZZTIME each.
fuzz:
	scripts/fuzz $(FUZZTIME)

# Ten minutes in which everything goes wrong at once, in another order each time: SEED=N repeats one.
chaos:
	@scripts/install-deps test
	go test -race -timeout 20m -run 'TestChaos$$' -v ./cmd/haproxy-api -args -chaos 10m -chaos.seed $(or $(SEED),$(shell date +%s))

# What each second of an hour brings, without the seconds.
soak:
	@scripts/install-deps test
	go test -timeout 60m -run 'TestSoak$$' -v ./cmd/haproxy-api -args -soak 3600

# The platforms that a release has beside the one of this machine.
cross:
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/haproxy-api
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/haproxy-api
