#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints a short digest of what of this repository is compiled into the kernel:
# what a measurement is of.

set -eu
cd "$(dirname "$0")/../../.."
export LC_ALL=C
find drivers include rust patches -type f -print0 | sort -z |
	xargs -0 sha256sum | sha256sum | cut -c1-16
