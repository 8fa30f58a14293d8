# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# proof.sh - what is shown for all inputs instead of for some.

# About 25 seconds of one processor.
add proof "no overflow, no stray read in the pure functions of src/format and src/base, for all inputs (Frama-C)"
check_proof() {
    need frama-c why3 z3 cvc4 "$python" || return
    PYTHONDONTWRITEBYTECODE=1 "$python" tests/proof/prove.py "$work/proof"
}
