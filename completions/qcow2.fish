# SPDX-License-Identifier: MIT
# Completion for fish.

set -l commands info map convert cat digest help

complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -l version -d 'Print the version'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a info -d 'What an image is'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a map -d 'Where a disk is stored'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a convert -d 'Write the disk as raw'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a cat -d 'Print bytes of the disk'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a digest -d 'SHA-256 of the disk'
complete -c qcow2 -n "not __fish_seen_subcommand_from $commands" -f -a help -d 'All about a command'
complete -c qcow2 -n "__fish_seen_subcommand_from help" -f -a "info map convert cat digest"

set -l any "__fish_seen_subcommand_from info map convert cat digest"
complete -c qcow2 -n "$any" -s f -l format -x -a qcow2 -d 'Format of the image'
complete -c qcow2 -n "$any" -l no-backing -d 'Read the top layer alone'
complete -c qcow2 -n "$any" -l zeros-past-end -d 'Read zeros past the end of the file'
complete -c qcow2 -n "$any" -l cache-size -x -d 'Memory for decompressed clusters'
complete -c qcow2 -n "$any" -l stats -d 'Print counters when done'
complete -c qcow2 -n "$any" -l stats=json -d 'Print counters as JSON when done'
complete -c qcow2 -n "$any" -s q -l quiet -d 'Print no progress'
complete -c qcow2 -n "$any" -s U -l force-share -d 'Take no lock; always so'
complete -c qcow2 -n "$any" -s h -l help -d 'Print help'

complete -c qcow2 -n "__fish_seen_subcommand_from info" -l backing-chain -d 'Every file of the chain'
complete -c qcow2 -n "__fish_seen_subcommand_from info digest" -l output -x -a 'human json' -d 'How to print'
complete -c qcow2 -n "__fish_seen_subcommand_from map" -l output -x -a 'human json html' -d 'How to print'
complete -c qcow2 -n "__fish_seen_subcommand_from map cat" -s s -l start-offset -x -d 'Begin at this byte'
complete -c qcow2 -n "__fish_seen_subcommand_from map cat" -s l -l max-length -x -d 'So many bytes'
complete -c qcow2 -n "__fish_seen_subcommand_from convert cat digest" -s m -l threads -x -d 'Number of threads'
complete -c qcow2 -n "__fish_seen_subcommand_from convert digest" -s p -l progress -d 'Show progress'
complete -c qcow2 -n "__fish_seen_subcommand_from convert cat" -l force -d 'Write to a terminal'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s O -l output-format -x -a raw -d 'Format to write'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -s W -l out-of-order -d 'In any order; always so'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l keep-zeros -d 'Write stored zeros'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l target-is-zero -d 'The device reads as zeros'
complete -c qcow2 -n "__fish_seen_subcommand_from convert" -l sync -d 'Wait for the medium'
