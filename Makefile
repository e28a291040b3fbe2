# Everything a newcomer needs: `make demo` shows it working, `make test` checks it. Run `make help` for the rest.

CARGO ?= cargo
# Taken from the network on disk, or 5 members from port 17000, where not given.
MEMBERS ?=
PORT ?=
KEYS ?=
FRESH ?=
N ?=

BIN := $(or $(CARGO_TARGET_DIR),target)/release
NETWORK := $(if $(MEMBERS),--members $(MEMBERS)) $(if $(PORT),--port $(PORT)) $(if $(KEYS),--keys $(KEYS))
# Always the whole workspace: one set of features, so that no crate is built twice.
ALL := --release --workspace --all-targets --locked
# Also every property test for longer: more cases of each, more runs of the simulated network.
LONG := TORUS_LONG=1 PROPTEST_CASES=4096 TORUS_SIM_CASES=10

.PHONY: help deps deps-test build demo devnet stop-member start-member status test test-long e2e js lint probe bench deny

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## Install what a network needs and this machine lacks (says what, before it does)
	@tests/deps network

deps-test:
	@tests/deps tests

build: ## Build the daemons, the client and the launcher
	$(CARGO) build --release --workspace --bins --locked

demo: deps build ## Start five members and log users in while one dies and all restart
	$(BIN)/torus-devnet demo $(NETWORK)

devnet: deps build ## Run a network until Ctrl-C (MEMBERS=5|9 KEYS=… PORT=… FRESH=1)
	$(BIN)/torus-devnet run $(NETWORK) $(if $(FRESH),--fresh)

stop-member: ## Stop one member of the running devnet (N=2)
	@$(BIN)/torus-devnet stop-member $(or $(N),$(error say which: make stop-member N=2))

start-member: ## Start it again (N=2)
	@$(BIN)/torus-devnet start-member $(or $(N),$(error say which: make start-member N=2))

status: ## Which processes of the devnet run
	@$(BIN)/torus-devnet status

lint: ## Formatting, and clippy with warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) -- -D warnings

probe: ## The vault's inner crates link without std and without an operating system
	cp Cargo.lock firmware-sim/probe/Cargo.lock
	$(CARGO) build --release --manifest-path firmware-sim/probe/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)/probe

js: deps-test ## The npm clients, exactly as their lock pins them
	cd tests/js && { test node_modules/.package-lock.json -nt package-lock.json || npm ci --ignore-scripts --no-audit --no-fund; }

test: deps deps-test lint probe js ## Everything that fits into an hour on two cores
	$(CARGO) build $(ALL)
	$(CARGO) test --release --workspace --locked

test-long: deps deps-test js ## Kill matrices, nine members, clocks that are off, long random testing: hours
	$(CARGO) build $(ALL)
	$(LONG) $(CARGO) test --release --workspace --locked

e2e: deps deps-test js ## The end-to-end tests alone
	$(CARGO) build $(ALL)
	$(CARGO) test --release --workspace --locked --test e2e

bench: deps build ## The figures of the README
	$(CARGO) run --release --locked -p torus-protocol --example keygen-cost
	tests/bench/token
	tests/bench/figures --test daemon bench::figures_of_one_vault
	tests/bench/figures --lib tests::bench::figures_of_the_bare_engine
	$(BIN)/torus-devnet bench $(NETWORK)

deny: ## Advisories, licences, sources (ADVISORIES=folder or archive of the advisory database)
	tests/deny "$(ADVISORIES)"
