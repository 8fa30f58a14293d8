# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# source.sh - checks that only look at the source text and compile nothing that runs.

add layers "includes obey the order of the layers; the library prints nothing and writes nothing"
check_layers() {
    need "$python" cc || return
    "$python" scripts/check.d/layers.py "$root"
}

# The text of a program that touches every INIT macro, valid in C and in C++.
header_program() {
    cat <<'PROGRAM'
#include <qcow2.h>
int use(void);
int use(void)
{
    struct qcow2_error error = QCOW2_ERROR_INIT;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_copy_options copy_options = QCOW2_COPY_OPTIONS_INIT;
    return error.code + (int)options.flags + (int)stats.reads + info.format
        + (int)copy_options.flags;
}
PROGRAM
}

# header_compiles COMPILER LANGUAGE STANDARD
header_compiles() {
    local strict=(-pedantic-errors -Wall -Wextra -Wconversion -Wshadow -Werror)
    echo "$*"
    echo '#include <qcow2.h>' | "$1" -x "$2" -std="$3" "${strict[@]}" -Iinclude -fsyntax-only - &&
        header_program | "$1" -x "$2" -std="$3" "${strict[@]}" -Iinclude -fsyntax-only -
}

add header "qcow2.h compiles alone, as C99 and C++98 to C++17, with gcc and clang"
check_header() {
    need gcc g++ clang clang++ || return
    local status=0 standard
    for standard in c99 c11 c17; do
        header_compiles gcc c $standard || status=1
        header_compiles clang c $standard || status=1
    done
    for standard in c++98 c++11 c++17; do
        header_compiles g++ c++ $standard || status=1
        header_compiles clang++ c++ $standard || status=1
    done
    return $status
}

bare_compiles() {
    cc -std=c11 -D_GNU_SOURCE -Isrc -Iinclude -c "$1" -o /dev/null || {
        echo "$1 does not compile without the build system"
        return 1
    }
}

add bare "every file of the library compiles with a bare compiler line, no build system"
check_bare() {
    need cc || return
    # shellcheck disable=SC2046
    all_of bare_compiles -- $(find src -name '*.c' | sort)
}

add format "the layout of C files is what clang-format makes of them"
check_format() {
    need clang-format || return
    files_named '*.[ch]' | xargs clang-format --dry-run -Werror
}

add scripts "shell scripts parse, commands are executable, every source file names its licence"
check_scripts() {
    local status=0 file first
    local licence='SPDX-License-Identifier: MIT'
    local unlicensed='no licence in its first three lines'
    for file in Makefile $(find scripts demo/make-image demo/run tests/install .ci -type f | sort); do
        IFS= read -r first <"$file" || true
        case $first in
        '#!'*)
            [ -x "$file" ] || { echo "$file has a #! line but is not executable"; status=1; }
            head -n 3 "$file" | grep -q "$licence" || { echo "$file: $unlicensed"; status=1; }
            ;;
        esac
        case $first in
        '#!/bin/bash') bash -n "$file" || status=1 ;;
        esac
    done
    for file in scripts/check.d/*.sh; do
        bash -n "$file" || status=1
    done
    for file in $(files_named '*.[ch]') $(files_named '*.py'); do
        head -n 3 "$file" | grep -q "$licence" || { echo "$file: $unlicensed"; status=1; }
    done
    return $status
}
