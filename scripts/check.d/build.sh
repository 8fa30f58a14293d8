# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# build.sh - the builds that other checks stand on, each in its own directory under build-check/, kept
# from run to run. A check that needs one asks for it by `built NAME`.

# The compiler and meson's options of each build. clang has the better sanitizers; -Og would hide
# races and keep every variable, so the sanitized builds are optimised too.
build_settings() {
    case $1 in
    gcc) compiler=gcc options=(--buildtype=release --werror) ;;
    alone) compiler=gcc options=(--buildtype=plain --werror -Dtool=false -Dcrypto=disabled) ;;
    clang) compiler=clang options=(--buildtype=release --werror) ;;
    asan)
        compiler=clang
        options=(--buildtype=debugoptimized '-Db_sanitize=address,undefined' -Db_lundef=false)
        options+=("-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer")
        ;;
    tsan)
        compiler=clang
        options=(--buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false)
        ;;
    i386 | s390x)
        compiler=cc options=(--cross-file "$description" --buildtype=release --werror)
        ;;
    musl) compiler=musl-gcc options=(--native-file "$description" --buildtype=release --werror) ;;
    esac
}

# built NAME - makes or refreshes the build and sets build_dir. Its output goes to the check's log.
built() {
    local compiler options=()
    build_settings "$1"
    need meson ninja pkg-config "$compiler" || return
    build_dir=$work/build-$1
    if [ ! -f "$build_dir/build.ninja" ]; then
        rm -rf "$build_dir"
        CC=$compiler meson setup "$build_dir" "$root" "${options[@]}" || return 1
    fi
    ninja -C "$build_dir" || return 1
}

# The programs of bench/ are not built by default, but must not rot.
built_with_bench() {
    built "$1" || return
    ninja -C "$build_dir" bench-programs
}

add build-gcc "the optimised build with gcc, warnings as errors"
check_build_gcc() {
    built_with_bench gcc
}

add build-clang "the optimised build with clang, warnings as errors"
check_build_clang() {
    built_with_bench clang
}

add build-alone "the library by itself: no tool, no libcrypto, no jansson"
check_build_alone() {
    built alone || return
    ! objdump -p "$build_dir/src/libqcow2.so" | grep 'NEEDED.*\(crypto\|jansson\|seccomp\)'
}

add tidy "clang-tidy finds nothing (.clang-tidy says what is asked of it, and why not more)"
check_tidy() {
    need clang-tidy || return
    built clang || return
    # What is compiled is what is looked at; headers are looked at through the files that use them. One
    # process for each file: the analyzer's va_list check goes wrong from the second file on. Of a file
    # that is compiled into thirty programs one command is kept, or it would be looked at thirty times.
    # The analyzer, which takes nearly all of the time, looks at what is shipped: of tests it tells less
    # than running them does.
    local status=0 output=$work/logs/tidy.txt shipped="^$root/\(src\|tool\)/"
    mkdir -p "$work/tidy"
    "$python" -c '
import json, os, sys
commands = {os.path.realpath(os.path.join(entry["directory"], entry["file"])): entry
            for entry in json.load(open(sys.argv[1]))}
json.dump(list(commands.values()), open(sys.argv[2], "w"))
print(*sorted(commands), sep="\n")
' "$build_dir/compile_commands.json" "$work/tidy/compile_commands.json" |
        grep "^$root/.*\.c$" >"$work/tidy/files"
    grep "$shipped" "$work/tidy/files" |
        xargs -P "$jobs" -n 1 clang-tidy --quiet -p "$work/tidy" >"$output" 2>"$work/logs/tidy.err" || status=1
    grep -v "$shipped" "$work/tidy/files" |
        xargs -P "$jobs" -n 1 clang-tidy --quiet -p "$work/tidy" --checks='-clang-analyzer-*' \
            >>"$output" 2>>"$work/logs/tidy.err" || status=1
    [ $status -eq 0 ] && return
    sed -n "s|^[^ ]*/build-clang/\.\./\.\./||; /: error: /p" "$output" | sort -u
    grep -v 'warnings\? generated\|warnings treated as errors\|^$' "$work/logs/tidy.err" || true
    echo "(all of it, with the reasoning: $output)"
    return 1
}
