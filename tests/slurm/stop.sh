#!/usr/bin/env bash
# End the Slurm of start.sh in SLURM_FOLDER, and nothing else: by the process ids that it wrote down.
set -uo pipefail
folder=${SLURM_FOLDER:?the folder of the cluster}
export PATH=$PATH:/usr/sbin SLURM_CONF=$folder/etc/slurm.conf
[ -e "$SLURM_CONF" ] || exit 0
timeout 10 scancel --user="$(id -un)" 2> /dev/null
for _ in $(seq 50); do
	[ -n "$(timeout 5 squeue -h 2> /dev/null)" ] || break
	sleep 0.2
done
pids=()
for written in "$folder"/run/slurmd.*.pid "$folder"/run/slurmctld.pid "$folder"/run/munged.pid; do
	[ -s "$written" ] || continue
	pid=$(cat "$written") name=$(basename "$written")
	# a number may belong to somebody else by now
	[ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "${name%%.*}" ] || continue
	kill "$pid"
	pids+=("$pid")
done
# all at once: each takes seconds to end
for _ in $(seq 100); do
	kill -0 "${pids[@]}" 2> /dev/null || break
	sleep 0.1
done
kill -9 "${pids[@]}" 2> /dev/null
exit 0
