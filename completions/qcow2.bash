# SPDX-License-Identifier: MIT
# Completion for bash. Needs nothing but bash itself, and runs no program: a completion for ./qcow2 in the
# directory of a stranger would run his.

_qcow2()
{
    local current=${COMP_WORDS[COMP_CWORD]}
    local previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="info map convert cat digest check compare explain vet help"
    local common="--format --allow --no-backing --zeros-past-end --cache-size --stats --no-sandbox
        --require-sandbox --quiet --force-share --help"
    local disk="--snapshot --key-file"
    local rules="all not-qcow2 disguised unknown-feature unsupported broken-header truncated over-limit
        unchecked backing-file backing-format data-file encryption key-cost broken-keys
        version-1 unknown-compatible unknown-extension stray-bytes dirty corrupt virtual-size
        ratio large-l1 snapshots vm-state broken-snapshots bitmaps broken-bitmaps bitmap-cost overlap
        outside unaligned broken-entry reserved-bits shared-data expansion refcounts leaks
        unused leftover slack"
    local options outputs command=${COMP_WORDS[1]}

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
        return
    fi
    case $command in
    info)
        options="--backing-chain --output"
        outputs="human json"
        ;;
    map)
        options="--start-offset --max-length --bitmap --no-limit --output $disk"
        outputs="human json html"
        ;;
    convert)
        options="--progress --threads --output-format --out-of-order --keep-zeros --target-is-zero
            --sync --force --internal-snapshot --no-create --options --sparse-size --target-cache
            --source-cache --copy-offload $disk"
        ;;
    cat)
        options="--start-offset --max-length --threads --vm-state --force $disk"
        ;;
    digest)
        options="--progress --threads --output $disk"
        outputs="human json"
        ;;
    check)
        options="--max-memory --no-limit --source-cache --output --key-file"
        outputs="human json"
        ;;
    compare)
        options="--second-format --second-snapshot --second-key-file --strict --source-cache
            --no-limit --progress --threads --output $disk"
        outputs="human json"
        ;;
    explain)
        options="--host --no-limit --output $disk"
        outputs="human json"
        ;;
    vet)
        options="--deny --warn --note --ignore --strict --max-virtual-size --max-ratio --max-expansion
            --max-memory --max-bitmap-memory --list-rules --output"
        outputs="human json"
        common="--format --stats --no-sandbox --require-sandbox --quiet --force-share --help"
        ;;
    help)
        mapfile -t COMPREPLY < <(compgen -W "${commands% help}" -- "$current")
        return
        ;;
    *)
        return
        ;;
    esac

    # bash hands over "--output=json" as three words.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $previous in
    --output)
        mapfile -t COMPREPLY < <(compgen -W "$outputs" -- "$current")
        return
        ;;
    --stats)
        if [[ ${COMP_WORDS[COMP_CWORD]} == "=" || ${COMP_WORDS[COMP_CWORD - 1]} == "=" ]]; then
            mapfile -t COMPREPLY < <(compgen -W "human json" -- "$current")
            return
        fi
        ;;
    --format | -f | --second-format | -F)
        mapfile -t COMPREPLY < <(compgen -W "qcow2 raw" -- "$current")
        return
        ;;
    --allow)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    --key-file | --second-key-file)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --deny | --warn | --note | --ignore)
        mapfile -t COMPREPLY < <(compgen -W "$rules" -- "$current")
        return
        ;;
    --output-format | -O)
        mapfile -t COMPREPLY < <(compgen -W "raw" -- "$current")
        return
        ;;
    --target-cache | -t | --source-cache | -T)
        mapfile -t COMPREPLY < <(compgen -W "none writeback unsafe directsync writethrough" -- "$current")
        return
        ;;
    -s)
        if [[ $command != compare ]]; then
            return
        fi
        ;;
    --cache-size | --start-offset | --max-length | --threads | --snapshot | --second-snapshot | \
        --bitmap | --max-memory | --max-bitmap-memory | --max-virtual-size | --max-ratio | --max-expansion | --host | \
        --internal-snapshot | --options | -o | --sparse-size | -S | -l | -m)
        return
        ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options $common" -- "$current")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -F _qcow2 qcow2
