# SPDX-License-Identifier: MIT
# The front. CMake builds; this only saves typing: 'make' lists what there is.

PRESET ?= release
JOBS ?= $(shell nproc)
BUILD = build/$(PRESET)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench performance asan tsan format format-check install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Programs and libraries land in build/<preset>/bin and build/<preset>/lib."
	@echo "  PRESET=release|debug|asan|tsan  JOBS=n  DESTDIR= (install)"

setup: ## install the Debian packages that build and tests need (asks sudo unless root)
	@scripts/setup build test

build: ## compile (all targets below do it by themselves)
	@scripts/setup build
	@cmake --preset $(PRESET) --log-level=WARNING > /dev/null
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

demo: build ## two processes hand a real file to each other through a private xpurtd
	@scripts/demo $(BUILD)

test: setup build ## all tests
	@rm -f $(BUILD)/tests/parity/results/*
	@ctest --preset $(PRESET); status=$$?; cat $(BUILD)/tests/parity/results/summary 2> /dev/null; \
	    exit $$status

bench: ## measure beside peers; ARGS="--help" tells more
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@$(BUILD)/bin/xpurt-bench $(ARGS)

performance: ## measure all, refresh docs/performance.md; ARGS="--seconds 10"
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@scripts/performance $(BUILD) $(ARGS)

asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test PRESET=asan

tsan: ## the tests of threads under ThreadSanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

format: ## lay out the C sources
	@scripts/setup format
	@scripts/format

format-check: ## say which C sources 'make format' would change
	@scripts/setup format
	@scripts/format --check

install: build ## install below DESTDIR and the configured prefix
	@cmake --install $(BUILD)

clean: ## remove everything that was built
	@rm -rf build
