# Everything a newcomer needs: `make demo` shows it working, `make test` checks it. Run `make help` for the rest.

CARGO ?= cargo
# Taken from the network on disk, or 5 members from port 17000, where not given.
MEMBERS ?=
PORT ?=
KEYS ?=
FRESH ?=
NODE_LIST ?=
N ?=
TARGET ?=
INPUT ?=
SECONDS ?=

BIN := $(or $(CARGO_TARGET_DIR),target)/release
NETWORK := $(if $(MEMBERS),--members $(MEMBERS)) $(if $(PORT),--port $(PORT)) $(if $(KEYS),--keys $(KEYS)) $(if $(NODE_LIST),--node-list)
# Always the whole workspace: one set of features, so that no crate is built twice.
ALL := --release --workspace --all-targets --locked

.PHONY: help deps deps-test deps-fuzz anvil build demo devnet stop-member start-member status test test-long fuzz e2e js contracts lint probe bench deny

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## Install what a network needs and this machine lacks (says what, before it does)
	@tests/deps network

deps-test:
	@tests/deps tests

deps-fuzz:
	@tests/deps fuzz

build: ## Build the daemons, the client and the launcher
	$(CARGO) build --release --workspace --bins --locked

demo: deps build anvil ## Start five members and log users in while one dies and all restart
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

anvil: ## A chain for the demo and the devnet, where npm is there
	@if command -v npm >/dev/null; then cd node/contracts/tests && { test node_modules/.package-lock.json -nt package-lock.json || npm ci --ignore-scripts --no-audit --no-fund; }; \
	else echo "npm is not here: the node list will be a file instead of a contract on a chain of its own"; fi

contracts: deps-test ## The node list on a chain of its own, and the npm clients that read it
	cd node/contracts/tests && { test node_modules/.package-lock.json -nt package-lock.json || npm ci --ignore-scripts --no-audit --no-fund; }
	cd node/contracts/tests && npm test --silent

test: deps deps-test lint probe js contracts ## Everything that fits into an hour on two cores
	$(CARGO) build $(ALL)
	$(CARGO) test --release --workspace --locked

test-long: deps deps-test deps-fuzz js contracts ## All tests, kill matrices, nine members, clocks that are off, long random testing
	$(CARGO) build $(ALL)
	CARGO="$(CARGO)" tests/long

fuzz: deps deps-fuzz ## Coverage-guided fuzzing of every decoder (TARGET=ipc SECONDS=600; INPUT=file to reproduce)
	tests/fuzz/run $(or $(SECONDS),90) $(if $(INPUT),--input $(INPUT)) $(TARGET)

e2e: deps deps-test js anvil ## The end-to-end tests alone
	$(CARGO) build $(ALL)
	$(CARGO) test --release --workspace --locked --test e2e

bench: deps build ## The figures of the README
	CARGO="$(CARGO)" tests/bench/all $(NETWORK)

deny: ## Advisories, licences, sources (ADVISORIES=folder or archive of the advisory database, or SKIP_ADVISORIES=1)
	tests/deny "$(ADVISORIES)"
