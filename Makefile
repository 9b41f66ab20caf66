# Users need only `make run` and `make test`. The other targets are for contributors.

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PLATFORMS ?= linux/amd64 linux/arm64 darwin/arm64
FUZZTIME ?= 30s
CHAOSTIME ?= 10m
SOAK ?= 3600

# scripts/install-deps installs Go here if the machine has none.
export PATH := $(CURDIR)/.go/bin:$(PATH)

GOTEST := go test -race -timeout 30m

.PHONY: run test test-long build lint generate fuzz chaos soak dist dist-check

# Runs the demo; FOLLOW=host:port follows that Sidecar instead. Installs HAProxy if it is missing.
run: build
	@scripts/install-deps run
	@bin/haproxy-api demo $(if $(FOLLOW),--follow $(FOLLOW))

# Installs what the tests need and runs all tests with HAProxy 2.6, on two processors in about 20 minutes. If
# scripts/install-deps cannot install that version, the tests use the installed HAProxy. The package that takes longest is first.
test:
	@scripts/install-deps test
	go vet ./...
	TEST_HAPROXY=$$(ls $(CURDIR)/.haproxy/2.6/haproxy 2>/dev/null) $(GOTEST) ./test/e2e ./...
	@for module in examples/*/go.mod test/*/go.mod; do \
		echo "testing $$(dirname $$module)"; \
		(cd $$(dirname $$module) && $(GOTEST) -vet=all ./...) || exit 1; \
	done

# Runs the tests that use HAProxy with 3.0 and 3.2 too, except those of the status page and of Prometheus. Then it runs a minute of
# chaos with each version, and a short soak test.
test-long:
	@scripts/install-deps test
	@for version in 3.0 3.2; do \
		if [ -x .haproxy/$$version/haproxy ]; then \
			echo "testing with HAProxy $$version"; \
			TEST_HAPROXY=$(CURDIR)/.haproxy/$$version/haproxy \
				$(GOTEST) -skip '^Test(StatusPage|Monitoring)' ./test/e2e ./sinks/haproxy/... ./templates || exit 1; \
		fi; \
	done
	$(MAKE) chaos CHAOSTIME=1m SEED=$(or $(SEED),1)
	$(MAKE) soak SOAK=600

build:
	@scripts/install-deps build
	go build -o bin/haproxy-api ./cmd/haproxy-api

lint:
	@scripts/install-deps test
	scripts/lint
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...

generate:
	go generate ./...

# Runs every fuzz target for FUZZTIME.
fuzz:
	scripts/fuzz $(FUZZTIME)

# Runs the chaos test for CHAOSTIME with each HAProxy. The order of the faults is random; SEED=N repeats a run.
chaos:
	@scripts/install-deps test
	@for haproxy in $$(ls $(CURDIR)/.haproxy/*/haproxy 2>/dev/null || echo haproxy); do \
		echo "chaos with $$haproxy"; \
		TEST_HAPROXY=$$haproxy $(GOTEST) -timeout 60m -run 'TestChaos$$' -v ./test/e2e \
			-args -chaos $(CHAOSTIME) -chaos.seed $(or $(SEED),$(shell date +%s)) || exit 1; \
	done

# Runs the soak test: the events of 3,600 simulated seconds.
soak:
	@scripts/install-deps test
	go test -timeout 60m -run 'TestSoak$$' -v ./test/e2e -args -soak $(SOAK)

# Builds the files of a release in dist, for PLATFORMS.
dist:
	@scripts/install-deps build
	@rm -rf dist
	scripts/dist dist $(PLATFORMS)

# Builds the files of a release in dist, and again in another place, and compares them.
dist-check:
	@scripts/install-deps build
	scripts/dist-check $(PLATFORMS)
