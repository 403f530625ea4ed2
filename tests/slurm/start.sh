#!/usr/bin/env bash
# A private Slurm on this host, for the tests: munged, slurmctld and NODES virtual nodes, without
# systemd, cgroups or a database, as root. Everything lies in SLURM_FOLDER; stop.sh ends what was started here.
# Afterwards `. $SLURM_FOLDER/environment` makes sbatch, squeue and so on speak to it.
set -euo pipefail
folder=${SLURM_FOLDER:?a folder for the cluster}
nodes=${NODES:-2} cpus=${CPUS:-2} memory_mb=${MEMORY_MB:-100000} gpus=${GPUS:-2} port=${PORT:-17817}
export PATH=$PATH:/usr/sbin SLURM_CONF=$folder/etc/slurm.conf
mkdir -p "$folder"/{bin,etc,log,run,state}
mkdir -p -m 700 "$folder/munge"
host=$(hostname -s) user=$(id -un)

cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# a job that is queued again waits for its credential to expire: two minutes, if not said
AuthInfo=socket=$folder/run/munge.socket,cred_expire=15
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,bf_interval=5
# without accounting, what squeue shows of ended jobs is all that is known of them
MinJobAge=300
KillWait=30
SlurmctldTimeout=30
SlurmdTimeout=30
CONF
for number in $(seq "$nodes"); do
	echo "NodeName=n$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + number))" \
		"CPUs=$cpus RealMemory=$memory_mb Gres=gpu:$gpus State=UNKNOWN"
done >> "$SLURM_CONF"
# the partitions of slurm/profile.yaml
for partition in cpu gpu; do
	echo "PartitionName=$partition Nodes=ALL Default=$([ $partition = cpu ] && echo YES || echo NO)" \
		"MaxTime=1-0 State=UP"
done >> "$SLURM_CONF"
# Slurm wants a device for each GPU: copies of /dev/null
for number in $(seq "$gpus"); do
	[ -c "$folder/gpu$number" ] || mknod "$folder/gpu$number" c 1 3
done
printf 'AutoDetect=off\nNodeName=n[1-%s] Name=gpu File=%s/gpu[1-%s]\n' "$nodes" "$folder" "$gpus" \
	> "$folder/etc/gres.conf"
# slurmd loads a cgroup plugin whatever happens; before 23.11 there is no `disabled`, and v1 touches
# nothing as long as no other plugin uses it
case $(slurmd -V) in
*" 2"[0-2].* | *" 23.02"*) echo CgroupPlugin=cgroup/v1 ;;
*) echo CgroupPlugin=disabled ;;
esac > "$folder/etc/cgroup.conf"

# Snakemake's plugin drops SLURM_CONF inside of jobs: programs that set it come first on the PATH
for program in sbatch srun squeue scancel scontrol sinfo sacct; do
	printf '#!/bin/sh\nexport SLURM_CONF=%s\nexec %s "$@"\n' "$SLURM_CONF" \
		"$(command -v -p $program)" > "$folder/bin/$program"
	chmod 755 "$folder/bin/$program"
done
printf 'export SLURM_CONF=%s PATH=%s/bin:$PATH MASTER_ADDR=127.0.0.1\n' "$SLURM_CONF" "$folder" \
	> "$folder/environment"

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null; }
if ! alive "$folder/run/munged.pid"; then
	(umask 077 && head -c 1024 /dev/urandom > "$folder/munge/munge.key")
	munged --force --key-file="$folder/munge/munge.key" --seed-file="$folder/munge/seed" \
		--socket="$folder/run/munge.socket" --pid-file="$folder/run/munged.pid" \
		--log-file="$folder/log/munged.log"
fi
alive "$folder/run/slurmctld.pid" || slurmctld
for number in $(seq "$nodes"); do
	alive "$folder/run/slurmd.n$number.pid" || slurmd -N "n$number"
done
for _ in $(seq 300); do
	up=$(sinfo -h -N -p cpu -t idle,mixed,alloc -o %N 2> /dev/null | sort -u | wc -l)
	[ "$up" -lt "$nodes" ] || exit 0
	sleep 0.1
done
echo "only $up of $nodes nodes are up; $folder/log says why" >&2
tail -n 5 "$folder"/log/*.log >&2
exit 1
