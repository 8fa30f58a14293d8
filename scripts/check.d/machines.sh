# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# machines.sh - the same tests on other machines: 32 bits (i386), big-endian (s390x), another C library
# (musl). All are cross builds in the sense of meson, described by files that are made here; the
# libraries come from the directories that `scripts/setup machines` unpacks (scripts/sysroot).
#
# Each takes one to two minutes of processor time, of which two processors share most.
#
# i386 runs by itself where the kernel can (any x86-64 one, as a rule), s390x under qemu's user-mode
# emulation, musl as it is. QCOW2_MACHINES=full runs every image and tool test on each instead of those
# that differ by machine: tables and their arithmetic, decoders, keys, what the tool prints.

# machine_file NAME - writes the description that meson reads, and names it in $description.
machine_file() {
    local name=$1 sysroot=$work/sysroot-$1 triplet=$2 family=$3 endian=$4 loader=$5 libraries
    libraries=$sysroot/lib/$name-linux-gnu:$sysroot/usr/lib/$name-linux-gnu
    description=$work/machine-$name.ini
    {
        echo '[binaries]'
        echo "c = ['$triplet-gcc', '--sysroot=$sysroot']"
        echo "ar = '$triplet-ar'"
        echo "strip = '$triplet-strip'"
        echo "pkgconfig = 'pkg-config'"
        [ -n "$emulator" ] && echo "exe_wrapper = ['$emulator', '-L', '$sysroot']"
        echo '[properties]'
        echo "sys_root = '$sysroot'"
        echo "pkg_config_libdir = '$sysroot/usr/lib/$name-linux-gnu/pkgconfig'"
        if [ -z "$emulator" ]; then # programs must find the loader and the libraries by themselves
            echo 'needs_exe_wrapper = false'
            echo '[built-in options]'
            echo "c_link_args = ['-Wl,--dynamic-linker=$sysroot$loader', '-Wl,-rpath,$libraries']"
        fi
        echo '[host_machine]'
        echo "system = 'linux'"
        echo "cpu_family = '$family'"
        echo "cpu = '${triplet%%-*}'"
        echo "endian = '$endian'"
    } >"$description"
}

# have_machine NAME - fails or skips, as `need` does, where its libraries were not unpacked.
have_machine() {
    [ -f "$work/sysroot-$1/.done" ] && return
    echo "the libraries of $1 are not here (scripts/setup machines unpacks them)"
    [ "${CI:-}" = true ] && return 1
    return "$skip"
}

# behind_emulator NAME - makes $build_dir a directory like the build's, in which each program that pytest
# starts is a script that starts it under the emulator.
behind_emulator() {
    local program wrapped=$work/wrapped-$1
    rm -rf "$wrapped"
    for program in qcow2 tests/reading/probe tests/reading/random_reads tests/check/check \
        tests/check/explain tests/crypto/decrypt_image; do
        mkdir -p "$(dirname "$wrapped/$program")"
        printf '#!/bin/sh\nexec %s -L %s %s "$@"\n' "$emulator" "$work/sysroot-$1" \
            "$build_dir/$program" >"$wrapped/$program"
        chmod +x "$wrapped/$program"
    done
    build_dir=$wrapped
    export QCOW2_EMULATED=1 # for the rest of this check, which runs in a shell of its own
}

# chosen_tests DIRECTORY EXPRESSION - those of its tests that pytest's -k chooses, or all.
chosen_tests() {
    if [ "${QCOW2_MACHINES:-}" = full ]; then
        pytest_of "$1"
    else
        pytest_of "$1" -k "$2"
    fi
}

add i386 "unit tests, and image tests on 32 bits"
check_i386() {
    local description emulator="" status=0
    need i686-linux-gnu-gcc qemu-i386 && have_machine i386 || return
    "$work/sysroot-i386/lib/ld-linux.so.2" --version >/dev/null 2>&1 || emulator=qemu-i386
    machine_file i386 i686-linux-gnu x86 little /lib/ld-linux.so.2
    built i386 || return
    unit_tests || status=1
    [ -n "$emulator" ] && behind_emulator i386
    chosen_tests tests/images "hostile or extended_l2 or damaged" || status=1
    chosen_tests tests/check "crafted or damaged" || status=1
    return $status
}

add s390x "unit tests, and image tests, on a big-endian machine under emulation"
check_s390x() {
    local description emulator=qemu-s390x status=0 names
    # shellcheck disable=SC2034
    local timeout_multiplier=20 # of an emulator; unit_tests sees it
    need s390x-linux-gnu-gcc qemu-s390x && have_machine s390x || return
    machine_file s390x s390x-linux-gnu s390x big /lib/ld64.so.1
    built s390x || return
    # Of the unit tests only those whose subject is not bytes are left out: they are threads and failing
    # allocations, and take three quarters of the time under an emulator.
    names=()
    [ "${QCOW2_MACHINES:-}" = full ] || readarray -t names < <(meson test -C "$build_dir" --list |
        grep -vx 'copy_order\|copy_file\|copy_compare\|copy_faults\|crypto out of memory\|unit_cache\|unit_failing_source')
    unit_tests "${names[@]}" || status=1
    behind_emulator s390x
    chosen_tests tests/images "hostile_header or every_class or stream_is_read or tool_converts" || status=1
    chosen_tests tests/check "healthy" || status=1
    # Keys are stretched by hundreds of thousands of rounds, which an emulator takes ten seconds for.
    chosen_tests tests/crypto "256-xts-plain64-sha256 or cbc-plain-sha1 or ctr-essiv" || status=1
    return $status
}

# musl_root - what Debian lacks for musl: headers of the libraries without those of glibc beside
# them, the libraries by the names that musl's loader asks for, and the few calls of glibc that they make.
musl_root() {
    local name file system=/usr/include triplet
    triplet=$(gcc -print-multiarch)
    root_of_musl=$work/musl
    mkdir -p "$root_of_musl/include/openssl" "$root_of_musl/lib"
    for name in libdeflate.h zlib.h zconf.h zstd.h zstd_errors.h jansson.h jansson_config.h seccomp.h \
        seccomp-syscalls.h cmocka.h cmocka_pbc.h linux asm asm-generic; do
        for file in "$system/$name" "$system/$triplet/$name"; do
            [ -e "$file" ] && ln -sfn "$file" "$root_of_musl/include/$name"
        done
    done
    ln -sf "$system"/openssl/* "$system/$triplet"/openssl/* "$root_of_musl/include/openssl/"
    for name in deflate z zstd crypto jansson seccomp cmocka; do
        file=$(realpath "$(gcc -print-file-name="lib$name.so")")
        ln -sf "$file" "$root_of_musl/lib/$(objdump -p "$file" | awk '$1 == "SONAME" { print $2 }')"
    done
    # Under the name of glibc's loader, which some libraries want loaded.
    name=$(basename "$(realpath "$(gcc -print-file-name=ld-linux-x86-64.so.2)")")
    musl-gcc -Wall -Wextra -Werror -O1 -shared -fPIC "-Wl,-soname,$name" -o "$root_of_musl/lib/$name" \
        tests/machines/glibc_names.c || return
    description=$work/machine-musl.ini
    {
        echo '[binaries]'
        echo "c = 'musl-gcc'"
        echo "pkgconfig = 'pkg-config'"
        echo '[built-in options]'
        echo "c_args = ['-isystem', '$root_of_musl/include']"
        echo "c_link_args = ['-Wl,-rpath,$root_of_musl/lib', '-Wl,--allow-shlib-undefined',"
        echo "    '-Wl,--no-as-needed', '$root_of_musl/lib/$name']"
    } >"$description"
}

add musl "unit tests, tool and image tests with musl as the C library"
check_musl() {
    local description root_of_musl status=0
    need musl-gcc gcc objdump || return
    musl_root || return
    built musl || return
    unit_tests || status=1
    # musl forks with all signals blocked, so that the kernel ends the program before it can say why.
    # What is left out besides is not the C library's: tables, keys, the arguments of each command.
    chosen_tests tests/tool "not (a_new_process or vet or keys or usage or progress)" || status=1
    chosen_tests tests/images "damaged or stream" || status=1
    return $status
}
