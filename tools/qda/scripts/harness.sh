#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the simulator and the harness for the host.

set -eu
. "$(dirname "$0")/lib.sh"
timed harness

steps=110
[ ! -x "$CARGO_TARGET_DIR/release/qda-harness" ] || steps=0
progress "simulator and harness" "$logs/harness.log" $steps \
	env -u MAKEFLAGS -u MAKELEVEL cargo build --release --locked --bins \
	--manifest-path "$qda/Cargo.toml"
