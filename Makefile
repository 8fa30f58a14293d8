# SPDX-License-Identifier: MIT
# A thin front door: what is here says what to type, the work is done by meson (building),
# scripts/check (checking), demo/run and bench/. Nothing is decided in this file.

BUILD = build
PREFIX ?= /usr/local
# Below PREFIX. Left to itself meson picks a place that differs from system to system, and on a small
# Debian one where neither pkg-config nor the linker looks.
LIBDIR ?= lib
DESTDIR ?=
IMAGE ?=
QUICK ?=
FUZZ_BUILD ?= build-fuzz
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup build demo check fuzz fuzz-fast coverage mutants bench install format clean

help: ## this list
	@echo "qcow2 - read qcow2 disk images. What 'make' can do:"
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
	    printf '  make %-9s %s\n' "$$name" "$$what"; done
	@echo "First time? 'make demo' on Debian installs what it needs (as root), builds, and shows the tool at work."

setup: ## install the Debian packages that building needs (as root)
	@scripts/setup build

build: ## build the tool, optimised, as build/qcow2, and the library beside it
	@command -v meson >/dev/null && command -v ninja >/dev/null || \
	    { echo "meson or ninja is missing: 'make setup' installs what building needs"; exit 1; }
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --buildtype=release --prefix='$(PREFIX)' \
	    --libdir='$(LIBDIR)'
	@ninja -C $(BUILD)

demo: ## read the image in demo/, every step explained; IMAGE=FILE reads another
	@scripts/setup build
	@log=$$(mktemp) && if $(MAKE) --no-print-directory build >$$log 2>&1; then rm -f $$log; \
	    else cat $$log; rm -f $$log; exit 1; fi
	@QCOW2_TOOL=$(BUILD)/qcow2 demo/run $(if $(IMAGE),'$(IMAGE)')

check: ## install what checking needs (as root), then every test and check there is
	@scripts/setup check
	@scripts/setup machines || echo "make: going on without the checks of other machines"
	@scripts/check

fuzz: ## fuzz with every target for FUZZ_SECONDS (60); fuzz/README.md says more
	@test -f $(FUZZ_BUILD)/build.ninja || CC=clang meson setup $(FUZZ_BUILD) -Dfuzz=true --buildtype=debugoptimized \
	    -Db_sanitize=address,undefined -Db_lundef=false \
	    '-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer'
	@ninja -C $(FUZZ_BUILD) fuzz-targets
	@fuzz/run -b $(FUZZ_BUILD) -s $(FUZZ_SECONDS)

# Five times as fast, and sees less: then `fuzz/run replay`. fuzz/README.md says more.
fuzz-fast:
	@test -f $(FUZZ_BUILD)-fast/build.ninja || CC=clang meson setup $(FUZZ_BUILD)-fast -Dfuzz=true \
	    --buildtype=release -Db_lundef=false \
	    '-Dc_args=-O2 -g1 -fsanitize=undefined -fsanitize-trap=undefined -fno-sanitize=function'
	@ninja -C $(FUZZ_BUILD)-fast fuzz-targets
	@fuzz/run -f -b $(FUZZ_BUILD)-fast -s $(FUZZ_SECONDS)

coverage: ## run the tests on an instrumented build: which lines and branches of src/ do they reach? (10 minutes)
	@scripts/setup check
	@scripts/coverage

mutants: ## break src/ in 300 places, one after the other: do the tests notice? (an hour)
	@scripts/setup check
	@scripts/mutants

bench: ## measure against qemu-img and others; QUICK=1 takes minutes, not more
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@bench/run --build $(BUILD) $(if $(QUICK),--quick)

install: build ## install tool, library, header, manual pages; PREFIX=/usr/local DESTDIR=
	@meson configure $(BUILD) -Dprefix='$(PREFIX)' -Dlibdir='$(LIBDIR)'
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD)
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ]; then ldconfig; fi

format: ## lay out all C files as .clang-format says
	@find . -type d -name 'build*' -prune -o -name '*.[ch]' -print0 | xargs -0 clang-format -i

clean: ## remove everything that was built
	rm -rf build build-check build-fuzz build-fuzz-fast build-coverage build-mutants
