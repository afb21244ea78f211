# SPDX-License-Identifier: GPL-2.0
#
# The front door. `make` prints what there is.

BUILD	?= build
SEED	?= 1
DEBUG	?= 0
BRIEF	?= 0
PART	?= 0
RELEASES ?= bookworm trixie
STEP	?= demo
export BUILD

scripts	:= tools/qda/scripts
harness	= $(BUILD)/cargo/release/qda-harness
debug	= $(if $(filter-out 0,$(DEBUG)),--debug)
part	= $(if $(filter-out 0,$(PART)),--part)
brief	= $(if $(filter-out 0,$(BRIEF)),--brief)

# What make check runs on the debug kernel, and of each suite only the first boot: all of it takes as
# long again. make test DEBUG=1 does that.
CHECK_DEBUG := kunit e2e gem prime map pds privileges signals restart submit hostile faultinject \
	canaries

.DEFAULT_GOAL := help
# The steps share directories; make's -j is for those within a step.
.NOTPARALLEL:
.PHONY: help setup kernel kernels guest guests guest-bench harness demo begin check test test-build \
	test-run total page64k \
	shell reference catalogue clients isolation soak socs bench bench-docs fresh lint \
	series clean distclean

help:
	@echo 'A Rust DRM accel driver for Qualcomm DSPs, and a simulated DSP to run it on.'
	@echo
	@echo '  make demo [SEED=n]  run a calculation on the simulated DSP through the driver'
	@echo '  make check          run every test, then many again on a debug kernel: what CI does'
	@echo '  make test           run every test; results in $(BUILD)/results/'
	@echo '  make test DEBUG=1   those of the guest on a kernel with KASAN, lockdep, kmemleak and'
	@echo '                      others, and fault injection; results in $(BUILD)/results/debug/'
	@echo '  make page64k        the tests of a kernel with 64 KiB pages, which takes a build of its own'
	@echo '  make shell          a shell in the guest, with the driver loaded and the DSP running'
	@echo '  make reference      check the simulator against the upstream driver and hexagonrpcd'
	@echo '  make isolation      prove that DSP processes reach their own memory only (KILLS=n SEED=n)'
	@echo '  make catalogue      try bugs that FastRPC drivers have had on both drivers (ROWS="P1 O3")'
	@echo '  make soak           kill, restart, reload by the thousand, for two hours (KILLS=n RESTARTS=n'
	@echo '                      RELOADS=n SEED=n)'
	@echo '  make socs           try the DSPs of all SoCs in the kernel'"'"'s own device trees (SOCS="a b")'
	@echo '  make clients        run Debian'"'"'s programs on both drivers; a table of the results'
	@echo '  make bench          measure the driver beside fastrpc.ko; up to 25 minutes'
	@echo '  make bench-docs     put the last measurement into the documentation'
	@echo '  make kernel         build the kernel with the driver'
	@echo '  make fresh          try the README on a new Debian 12 and 13, in chroots; as root'
	@echo '                      (RELEASES="bookworm trixie" STEP=demo or setup)'
	@echo '  make lint           formatting, clippy, rustdoc, checkpatch, W=1, header checks'
	@echo '  make series         the git series for the kernel: $(BUILD)/series/ (CHECK=1: build each commit)'
	@echo '  make setup          install what is missing (all targets do it by themselves)'
	@echo '  make clean          remove what was built'
	@echo '  make distclean      remove $(BUILD)/ with everything that was fetched'
	@echo
	@echo 'Every target does its own set-up: as root on Debian 12 or 13 it installs what it'
	@echo 'needs; else it says what is missing. It takes 9 GiB of disk, 4 GiB of memory, no KVM.'
	@echo 'SUITES="a b" limits make test, SUITE_JOBS=n how many suites run at a time;'
	@echo 'KDIR=<tree> uses another Linux 7.3 tree (it is copied).'

setup:
	@$(scripts)/setup.sh

kernel: setup
	@$(scripts)/kernel.sh normal

kernels: kernel
	@$(scripts)/kernel.sh builtin

guest: kernel
	@$(scripts)/guest.sh normal

guest-bench: setup
	@$(scripts)/kernel.sh bench
	@$(scripts)/guest.sh bench

guests: guest kernels
	@$(scripts)/guest.sh builtin

harness: setup
	@$(scripts)/harness.sh

demo: guest harness
	@$(harness) demo --seed '$(SEED)'

shell: guest harness
	@$(harness) shell

page64k:
	@$(MAKE) --no-print-directory test DEBUG=0 SUITES=page64k

# The list of the steps that make takes, with the time at which it began; a part of a run goes on
# with the run's.
begin:
	@mkdir -p '$(BUILD)'
	@[ -n '$(part)' ] || date +%s >'$(BUILD)/steps'

test: begin test-build test-run

# Only the kernels that are wanted.
test-build: harness
	@set -e; for kernel in $$($(harness) kernels $(debug) $(SUITES)); do \
		$(scripts)/kernel.sh $$kernel; \
		$(scripts)/guest.sh $$kernel; \
	done

test-run: harness
	@$(harness) test $(debug) $(brief) $(part) $(SUITES)

# Both, whatever the first comes to; at last one table and one line for both.
check: begin
	@$(scripts)/check.sh '$(MAKE)' '$(CHECK_DEBUG)'

# What both came to together.
total: harness
	@$(harness) total

bench: guest-bench harness
	@$(harness) bench $(BENCH)

bench-docs: harness
	@$(harness) bench-docs

reference: guest harness
	@$(harness) test reference

# KILLS, RESTARTS and RELOADS, if given, are in the environment; their defaults are the harness's.
isolation: guest harness
	@$(harness) isolation --seed '$(SEED)'

catalogue: harness
	@set -e; for kernel in $$($(harness) catalogue-kernels $(ROWS)); do \
		$(scripts)/kernel.sh $$kernel; \
		$(scripts)/guest.sh $$kernel; \
	done
	@$(harness) catalogue $(ROWS)

soak: harness
	@$(scripts)/kernel.sh debug
	@$(scripts)/guest.sh debug
	@$(harness) soak --seed '$(SEED)'

# Not part of make check: what is special about one of them has a board in a suite.
socs: guest harness
	@$(harness) socs $(SOCS)

clients: guest harness
	@$(harness) test clients

# On machines that have nothing yet. STEP=setup ends before the kernel is built.
fresh:
	@$(scripts)/fresh.sh '$(STEP)' $(RELEASES)

lint: kernel
	@$(scripts)/lint.sh

series: kernel
	@$(scripts)/series.sh

clean:
	rm -rf '$(BUILD)'/kernel-* '$(BUILD)'/guest-* '$(BUILD)'/cargo '$(BUILD)'/results \
		'$(BUILD)'/series '$(BUILD)'/run '$(BUILD)'/logs '$(BUILD)'/fresh-*
	rm -f '$(BUILD)'/stamps/kernel-* '$(BUILD)'/stamps/guest-*

distclean:
	rm -rf '$(BUILD)'
