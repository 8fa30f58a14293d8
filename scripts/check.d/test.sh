# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# test.sh - running the tests: unit tests (cmocka, through meson) and image and tool tests (pytest), on
# the plain build and on the sanitized ones.

# A sanitizer's report must never look like an error exit that a test expected.
export ASAN_OPTIONS=exitcode=99:halt_on_error=1:detect_leaks=1
export UBSAN_OPTIONS=exitcode=99:halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=exitcode=99:halt_on_error=1:second_deadlock_stack=1
# One word for each test on standard output, so that they can be counted.
export CMOCKA_MESSAGE_OUTPUT=TAP

# shellcheck disable=SC2119,SC2120 # most run all of them
# unit_tests [NAME...] - meson's tests of the build in $build_dir, or those named.
unit_tests() {
    local status=0
    # Sanitizers cannot place their shadow memory under every address space layout a kernel may pick.
    local fixed_layout=()
    setarch -R true 2>/dev/null && fixed_layout=(setarch -R)
    rm -f "$build_dir/meson-logs/testlog.json"
    "${fixed_layout[@]}" meson test -C "$build_dir" --no-rebuild --print-errorlogs \
        --timeout-multiplier "${timeout_multiplier:-5}" "$@" || status=1
    # shellcheck disable=SC2046
    count $("$python" scripts/check.d/count.py "$build_dir/meson-logs/testlog.json")
    return $status
}

# pytest_of DIRECTORY OPTION... - runs its tests on the build in $build_dir. One run for each directory,
# because helper modules of the same name may stand beside the tests of two.
pytest_of() {
    local status=0 result options directory=$1
    shift
    result=$build_dir/pytest-$(basename "$directory").xml
    options=(-q -ra --tb=short -p no:cacheprovider --junitxml="$result")
    need "$python" qemu-img qemu-io || return
    "$python" -c 'import xdist' 2>/dev/null && options+=(-n "$jobs" --dist loadgroup)
    rm -f "$result"
    QCOW2_BUILD=$build_dir QCOW2_TOOL=$build_dir/qcow2 PYTHONDONTWRITEBYTECODE=1 \
        "$python" -m pytest "${options[@]}" "$@" "$directory" || status=1
    # shellcheck disable=SC2046
    count $("$python" scripts/check.d/count.py "$result")
    return $status
}

add unit "the unit tests"
check_unit() {
    built gcc || return
    unit_tests
}

add images "reading images, compared with qemu-img byte for byte, from one thread and many"
check_images() {
    built gcc || return
    pytest_of tests/images
}

add tool "the commands: output, exit status, bad input"
check_tool() {
    built gcc || return
    pytest_of tests/tool
}

add chains "the whole format: images over chains, data files, snapshots, keys and versions, as qemu-img sees them"
check_chains() {
    built gcc || return
    pytest_of tests/chains
}

add reference "the plain reader in Python agrees with qemu-img"
check_reference() {
    built gcc || return
    pytest_of tests/reference
}

add consistency "'qcow2 check' and 'explain' on healthy and damaged images, as qemu-img counts them"
check_consistency() {
    built gcc || return
    pytest_of tests/check
}

add crypto "encrypted images, decrypted by the crypto modules alone"
check_crypto() {
    built gcc || return
    pytest_of tests/crypto
}

add mutation "2,000 changed images: QEMU's bytes or an error (a minute; QCOW2_VARIANTS=20000 for more)"
check_mutation() {
    built gcc || return
    pytest_of tests/mutation
}

# A minute. Threads are of more use under the thread sanitizer, which has half a minute of them.
add faults "memory, reads, writes, threads and locks failing once each; bounds on memory and work"
check_faults() {
    built gcc || return
    QCOW2_FAULT_SECONDS=${QCOW2_FAULT_SECONDS:-4} pytest_of tests/faults
}

add asan "unit, image, tool and fault tests under the address and undefined behaviour sanitizers"
check_asan() {
    local status=0
    need "$python" qemu-img qemu-io || return
    built asan || return
    unit_tests || status=1
    pytest_of tests/images || status=1
    pytest_of tests/tool || status=1
    pytest_of tests/check || status=1
    # A minute or more.
    pytest_of tests/faults/test_every_fault.py || status=1
    return $status
}

add fuzz "the fuzz targets over their inputs in fuzz/corpus, under the sanitizers (FUZZ_SECONDS: and new ones)"
check_fuzz() {
    local status=0 program target
    built asan || return
    ninja -C "$build_dir" fuzz-programs || return 1
    # Two seconds in all; building the programs takes half a minute.
    for program in "$build_dir"/fuzz/seeds_*; do
        [ -f "$program" ] || continue
        target=${program##*/seeds_}
        echo "$target"
        if "$program" "fuzz/corpus/$target"; then
            count 1 0 0
        else
            count 0 1 0
            status=1
        fi
    done
    if [ -n "${FUZZ_SECONDS:-}" ]; then
        make fuzz FUZZ_BUILD="$work/build-fuzz" || status=1
    fi
    return $status
}

# Images for threads to meet on: the demo disk in several dresses, and a raw file to compare with.
race_images() {
    local raw=$1/disk.raw
    mkdir -p "$1"
    qemu-img convert -O raw demo/disk.qcow2 "$raw"
    qemu-img convert -f raw -O qcow2 -o cluster_size=4k "$raw" "$1/plain-4k.qcow2"
    qemu-img convert -f raw -O qcow2 -c -o cluster_size=64k "$raw" "$1/deflate-64k.qcow2"
    qemu-img convert -f raw -O qcow2 -c -o cluster_size=512 "$raw" "$1/deflate-512.qcow2"
    qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$raw" "$1/zstd-64k.qcow2"
    qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd,cluster_size=2M "$raw" "$1/zstd-2m.qcow2"
}

# race NAME ARGS... - 16 threads on one image, every byte compared, under the thread sanitizer.
race() {
    local image=$1
    shift
    echo "$image, $*"
    if "${fixed_layout[@]}" "$build_dir/tests/reading/random_reads" --threads 16 "$@" \
        "$races/$image.qcow2" "$races/disk.raw"; then
        count 1 0 0
    else
        count 0 1 0
        return 1
    fi
}

add tsan "unit tests, and 16 threads on one image of each kind, under the thread sanitizer"
check_tsan() {
    local status=0 image races=$work/races fixed_layout=()
    need qemu-img || return
    built tsan || return
    setarch -R true 2>/dev/null && fixed_layout=(setarch -R)
    unit_tests || status=1
    race_images "$races"
    for image in plain-4k deflate-64k deflate-512 zstd-64k zstd-2m; do
        race $image --count 20000 || status=1
    done
    # Caches so small that threads throw out each other's blocks all the time, and none at all.
    race deflate-512 --count 20000 --table-cache 16384 --cluster-cache 4096 || status=1
    race deflate-64k --count 5000 --table-cache 8192 --cluster-cache 131072 || status=1
    race zstd-64k --count 5000 --table-cache 1 --cluster-cache 1 || status=1
    rm -rf "$races"
    # All that can be asked of an image, on every kind, 30 seconds with sources that work and 30 with
    # sources that fail (QCOW2_FAULT_SECONDS).
    pytest_of tests/faults/test_race.py || status=1
    return $status
}

add bench "the benches' own tests; the benches themselves are 'make bench'"
check_bench() {
    built gcc || return
    pytest_of bench
}

add counts "three fixed workloads take no more instructions than bench/instructions.json says"
check_counts() {
    need valgrind gcc || return
    # Another compiler makes other code, and the figures say nothing about it.
    if [ "$(gcc -dumpversion)" != 12 ]; then
        echo "the expected counts are for gcc 12, this is gcc $(gcc -dumpversion)"
        return "$skip"
    fi
    built gcc || return
    bench/instructions check --build "$build_dir"
}
