# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# product.sh - checks of what leaves the house: the library's symbols, the installed tree, the
# documentation, the demonstration.

# Every name the public header declares as a function.
declared_calls() {
    cc -fpreprocessed -dD -E -P -x c include/qcow2.h | tr '\n' ' ' | sed 's/typedef[^;]*;//g' |
        grep -o '\bqcow2_[a-z0-9_]*(' | tr -d '(' | sort -u
}

mapped_calls() {
    sed -n '/global:/,/local:/s/^ *\(qcow2_[a-z0-9_]*\);$/\1/p' src/libqcow2.map | sort
}

# same WHAT FILE FILE - says how two sorted lists differ.
same() {
    diff "$2" "$3" >"$work/logs/symbols.diff" && return
    echo "$1:"
    grep '^[<>]' "$work/logs/symbols.diff"
    return 1
}

add symbols "exported names: prefixed in the archive, versioned in the library, declared in the header"
check_symbols() {
    need nm size cc || return
    built gcc || return
    local status=0 archive=$build_dir/src/libqcow2.a shared=$build_dir/src/libqcow2.so

    nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | grep -v '^\(qcow2_\|q2_\)' &&
        { echo "^ global in the archive without the prefix qcow2_ or q2_"; status=1; }
    nm -u "$archive" | awk '{ print $NF }' | sort -u |
        grep -x '\(__\)\?\(v\|f\|vf\|d\|vd\)\?printf\(_chk\)\?\|puts\|putchar\|fputs\|fputc\|perror\|stdout\|stderr\|\(secure_\)\?getenv\|environ\|_\?exit\|_Exit\|abort\|signal\|sigaction' &&
        { echo "^ used by the library, which prints nothing, reads no environment and never exits"; status=1; }
    # No globals: nothing writable in any object, constant tables of pointers aside.
    size -A "$archive" | awk '/:$/ || / of / { object = $1 }
        /^\.t?(data|bss)[ .]/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 { print object, $1, $2; found = 1 }
        END { exit !found }' &&
        { echo "^ writable data: the library keeps no global state"; status=1; }

    nm -D --defined-only --with-symbol-versions "$shared" | awk 'NF == 3 && $2 != "A" { print $3 }' |
        sort >"$work/logs/exported"
    grep -v '^qcow2_[a-z0-9_]*@@QCOW2_[0-9.]*$' "$work/logs/exported" &&
        { echo "^ exported without a version"; status=1; }
    sed 's/@.*//' "$work/logs/exported" >"$work/logs/exported-names"
    mapped_calls >"$work/logs/mapped-names"
    declared_calls >"$work/logs/declared-names"
    same "in the shared object (<) or in src/libqcow2.map (>) only" \
        "$work/logs/exported-names" "$work/logs/mapped-names" || status=1
    same "in the shared object (<) or in qcow2.h (>) only" \
        "$work/logs/exported-names" "$work/logs/declared-names" || status=1
    echo "$(wc -l <"$work/logs/exported-names") calls exported"
    [ -s "$work/logs/exported-names" ] || status=1
    return $status
}

add install "the installed tree: examples build against it, static and shared, and run"
check_install() {
    need cc pkg-config meson || return
    built gcc || return
    tests/install/run "$build_dir" "$work/installed"
}

add docs "manual pages, README, version numbers and links agree with the code"
check_docs() {
    need "$python" || return
    built gcc || return
    "$python" scripts/check.d/docs.py "$root" "$build_dir/qcow2"
}

add demo "the demonstration runs, its digests agree, and a false digest is noticed"
check_demo() {
    built gcc || return
    local copy=$work/demo
    QCOW2_TOOL=$build_dir/qcow2 demo/run || return 1
    # The same image under another name must do as well, and a wrong answer must not pass.
    rm -rf "$copy"
    mkdir -p "$copy"
    cp demo/run demo/disk.qcow2 "$copy/"
    QCOW2_TOOL=$build_dir/qcow2 demo/run "$copy/disk.qcow2" >/dev/null || return 1
    echo "$(printf '0%.0s' {1..64})  disk.raw" >"$copy/disk.sha256"
    if QCOW2_TOOL=$build_dir/qcow2 "$copy/run" >/dev/null; then
        echo "demo/run accepted a wrong digest"
        return 1
    fi
    rm -rf "$copy"
}
