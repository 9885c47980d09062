# Names for what is done by scripts and by cargo; the work itself is in deploy/dev and .ci.

# make run EXIT=… KAFKA=… hands both to deploy/dev/run.
export EXIT KAFKA
# make test ARGS='-p whence-journal' (of cargo nextest) and make bench ARGS=… take a part instead of the whole.
ARGS ?= --workspace

.PHONY: help check test soak run bench fmt lint doc clean
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## in a few minutes: format, lints, unit tests, a short simulation
	@.ci/check

test: ## all tests; installs and starts what they need, and stops it
	@deploy/dev/test $(ARGS)

soak: ## hours before a release: all faults, thousands of seeds, fuzzing
	@deploy/dev/soak

run: ## whence on this machine (EXIT=…, KAFKA=…)
	@deploy/dev/run

bench: ## benches of the hot paths
	@cargo bench $(ARGS)

fmt: ## formats the code
	@cargo fmt --all

lint: ## format, lints, documentation, dependencies
	@.ci/lint

doc: ## documentation in target/doc
	@cargo doc --no-deps --workspace

clean: ## removes what cargo built; caches in ~/.cache/whence stay
	@cargo clean
