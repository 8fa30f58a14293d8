# SPDX-License-Identifier: MIT
# Completion for fish. Runs no program.

set -l commands info map convert cat digest check compare explain vet help

complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -l version -d 'Print the version'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a info -d 'What an image is'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a map -d 'Where a disk is stored'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a convert -d 'Write the disk as raw'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a cat -d 'Print bytes of the disk'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a digest -d 'SHA-256 of the disk'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a check -d 'Do tables and refcounts agree'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a compare -d 'Have two disks the same bytes'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a explain -d 'Where a byte comes from'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a vet -d 'May an untrusted image be let in'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a help -d 'All about a command'
complete -c qcow2 -n "__fish_seen_subcommand_from help" -f -a "info map convert cat digest check compare explain vet"

set -l rules all not-qcow2 disguised unknown-feature unsupported broken-header truncated over-limit \
    unchecked backing-file backing-format data-file encryption key-cost broken-keys \
    version-1 unknown-compatible unknown-extension stray-bytes dirty corrupt virtual-size \
    ratio large-l1 snapshots vm-state broken-snapshots bitmaps broken-bitmaps bitmap-cost overlap \
    outside unaligned broken-entry reserved-bits shared-data expansion refcounts leaks \
    unused leftover slack
set -l any "__fish_seen_subcommand_from info map convert cat digest check compare explain vet"
set -l reading "__fish_seen_subcommand_from info map convert cat digest check compare explain"
complete -c qcow2 -n "$any" -s f -l format -x -a 'qcow2 raw' -d 'Format of the image'
complete -c qcow2 -n "$reading" -l allow -x -a '(__fish_complete_directories)' -d 'Files beneath this directory may be used'
complete -c qcow2 -n "$reading" -l no-backing -d 'Read the top layer alone'
complete -c qcow2 -n "$reading" -l zeros-past-end -d 'Read zeros past the end of the file'
complete -c qcow2 -n "$reading" -l cache-size -x -d 'Memory for decompressed clusters'
complete -c qcow2 -n "$any" -l stats -d 'Print counters when done'
complete -c qcow2 -n "$any" -l stats=json -d 'Print counters as JSON when done'
complete -c qcow2 -n "$any" -l no-sandbox -d 'Keep rights that are not needed'
complete -c qcow2 -n "$any" -l require-sandbox -d 'Fail without a whole sandbox'
complete -c qcow2 -n "$any" -s q -l quiet -d 'Print no progress'
complete -c qcow2 -n "$any" -s U -l force-share -d 'Take no lock; always so'
complete -c qcow2 -n "$any" -s h -l help -d 'Print help'

complete -c qcow2 -n "__fish_seen_subcommand_from info" -l backing-chain -d 'Every file of the chain'
complete -c qcow2 -n "__fish_seen_subcommand_from info digest check compare explain vet" -l output -x -a 'human json' -d 'How to print'
complete -c qcow2 -n "__fish_seen_subcommand_from map" -l output -x -a 'human json html' -d 'How to print'
complete -c qcow2 -n "__fish_seen_subcommand_from map cat" -s s -l start-offset -x -d 'Begin at this byte'
complete -c qcow2 -n "__fish_seen_subcommand_from map cat" -s l -l max-length -x -d 'So many bytes'
complete -c qcow2 -n "__fish_seen_subcommand_from convert cat digest compare" -s m -l threads -x -d 'Number of threads'
complete -c qcow2 -n "__fish_seen_subcommand_from convert digest compare" -s p -l progress -d 'Show progress'
complete -c qcow2 -n "__fish_seen_subcommand_from convert cat" -l force -d 'Write to a terminal'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s O -l output-format -x -a raw -d 'Format to write'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s W -l out-of-order -d 'In any order; always so'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s C -l copy-offload -d 'Share data; always so'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s l -l internal-snapshot -x -d 'Read this snapshot'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s n -l no-create -d 'The output is there already'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s o -l options -x -a 'preallocation=off preallocation=falloc preallocation=full' -d 'Allocate the file'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s S -l sparse-size -x -d '0: without holes'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s t -l target-cache -x -a 'none writeback unsafe directsync writethrough' -d 'Flush at the end, unless unsafe'
complete -c qcow2 -n "__fish_seen_subcommand_from convert check compare" -s T -l source-cache -x -a 'none writeback unsafe directsync writethrough' -d 'Changes nothing'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l keep-zeros -d 'Write stored zeros'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l target-is-zero -d 'The device reads as zeros'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l sync -d 'Wait for the medium'
complete -c qcow2 -n "__fish_seen_subcommand_from map convert cat digest compare explain" -l snapshot -x -d 'Read this snapshot'
complete -c qcow2 -n "__fish_seen_subcommand_from map convert cat digest check compare explain" -l key-file -r -F -d 'Passphrase'
complete -c qcow2 -n "__fish_seen_subcommand_from map" -l bitmap -x -d 'What this dirty bitmap marks'
complete -c qcow2 -n "__fish_seen_subcommand_from cat" -l vm-state -d 'The VM state of the snapshot'
complete -c qcow2 -n "__fish_seen_subcommand_from check compare explain map" -l no-limit -d 'Lift the limits on work'
complete -c qcow2 -n "__fish_seen_subcommand_from check vet" -l max-memory -x -d 'Memory the check may take'
complete -c qcow2 -n "__fish_seen_subcommand_from compare" -s F -l second-format -x -a 'qcow2 raw' -d 'Format of the second image'
complete -c qcow2 -n "__fish_seen_subcommand_from compare" -l second-snapshot -x -d 'Snapshot of the second image'
complete -c qcow2 -n "__fish_seen_subcommand_from compare" -l second-key-file -r -F -d 'Passphrase of the second image'
complete -c qcow2 -n "__fish_seen_subcommand_from compare" -s s -l strict -d 'Different sizes differ'
complete -c qcow2 -n "__fish_seen_subcommand_from explain" -l host -x -d 'What this byte of the file is for'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l deny -x -a "$rules" -d 'Rules that say no'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l warn -x -a "$rules" -d 'Rules that warn'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l note -x -a "$rules" -d 'Rules that mention'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l ignore -x -a "$rules" -d 'Rules that do nothing'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l strict -d 'Warnings say no too'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l max-virtual-size -x -d 'The largest disk'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l max-ratio -x -d 'Disk to file, at most'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l max-expansion -x -d 'Data to file, at most'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l max-bitmap-memory -x -d 'Memory of all bitmaps'
complete -c qcow2 -n "__fish_seen_subcommand_from vet" -l list-rules -d 'Print all rules'
