#!/usr/bin/env bash
# A Slurm cluster of two nodes on one machine, all of it in FOLDER:   tests/clusters/slurm.sh start FOLDER [--accounting | --suspension] | stop FOLDER
# Needs root, and of Debian: slurm-wlm munge; with --accounting also slurmdbd mariadb-server. Prints the line that a shell needs to use it.
# Partitions: `low` is preempted by requeue after 20 s of grace, `ungraced` at once, `cancelled` by cancelling after 20 s, all of them by
# `high`; `short` takes jobs of one minute; every partition takes jobs of at most a day. A silent node is down after 30 s. With --suspension `suspended`
# is preempted by suspension; Slurm then cancels the jobs of `cancelled` without their 20 s.
set -euo pipefail
usage="usage: $0 start FOLDER [--accounting | --suspension] | stop FOLDER"
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
mkdir -p "$2"
folder=$(cd "$2" && pwd); host=$(hostname -s); user=$(id -un)
export SLURM_CONF=$folder/slurm.conf

end() {  # FILE with a process id: ends that process and waits for it
  [ -s "$1" ] || return 0
  local pid; pid=$(cat "$1")
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

if [ "$1" = stop ]; then
  scancel --user="$user" 2>/dev/null || true
  for each in ctld slurmd-n1 slurmd-n2 dbd mariadb munged; do end "$folder/$each.pid"; done
  exit 0
fi
[ "$1" = start ] || { echo "$usage" >&2; exit 2; }

wait_for() {  # SECONDS COMMAND...
  local seconds=$1; shift
  for _ in $(seq $((seconds * 5))); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  echo "after $seconds s not true: $*" >&2; tail -n 5 "$folder"/log/*.log >&2; exit 1
}

chmod 755 "$folder"
mkdir -p "$folder"/{state,log}
read -r ctld_port dbd_port n1_port n2_port <<<"$(python3 -c '
import socket
held = [socket.socket() for _ in range(4)]
for each in held: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))')"

# munge of its own: the key and the socket of the machine stay as they are
(umask 077; head -c 1024 /dev/urandom >"$folder/munge.key")
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
  --seed-file="$folder/munge.seed" --log-file="$folder/log/munged.log"
auth="AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=15"   # a requeued job starts after that many seconds, 120 by default; a slow machine needs some to begin a job

accounting="AccountingStorageType=accounting_storage/none"
preempt_mode=REQUEUE suspended=
if [ "${3:-}" = --suspension ]; then
  preempt_mode=SUSPEND,GANG suspended="PartitionName=suspended PriorityTier=1 PreemptMode=SUSPEND OverSubscribe=FORCE:1"
fi
if [ "${3:-}" = --accounting ]; then
  mariadb-install-db --no-defaults --datadir="$folder/database" --user="$user" --auth-root-authentication-method=normal >"$folder/log/install.log" 2>&1
  mariadbd --no-defaults --datadir="$folder/database" --user="$user" --socket="$folder/mariadb.socket" --pid-file="$folder/mariadb.pid" \
    --skip-networking --innodb-lock-wait-timeout=900 >"$folder/log/mariadb.log" 2>&1 &
  wait_for 60 mariadb-admin --no-defaults --socket="$folder/mariadb.socket" ping
  mariadb --no-defaults --socket="$folder/mariadb.socket" -e "create user slurm@localhost; grant all on *.* to slurm@localhost"
  (umask 077; cat >"$folder/slurmdbd.conf" <<C
DbdHost=localhost
DbdPort=$dbd_port
SlurmUser=$user
PidFile=$folder/dbd.pid
LogFile=$folder/log/dbd.log
StorageType=accounting_storage/mysql
StorageUser=slurm
StorageLoc=slurm
$auth
C
  )
  # the client library of the database finds the socket by this variable
  SLURM_CONF=$folder/slurmdbd.conf MYSQL_UNIX_PORT=$folder/mariadb.socket slurmdbd
  accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$dbd_port
AccountingStoragePass=$folder/munge.socket
AccountingStorageEnforce=associations,limits,qos"
fi

cat >"$SLURM_CONF" <<C
ClusterName=cotexp
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld_port
$auth
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmUser=$user
SlurmdUser=$user
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/ctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=$preempt_mode
KillWait=20
SlurmdTimeout=30
MaxArraySize=21
$accounting
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n1_port CPUs=2 RealMemory=8000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n2_port CPUs=2 RealMemory=8000
PartitionName=DEFAULT Nodes=n1,n2 MaxTime=1-0 State=UP
PartitionName=low Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=ungraced PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=cancelled PriorityTier=1 PreemptMode=CANCEL GraceTime=20
$suspended
PartitionName=high PriorityTier=10 PreemptMode=OFF
PartitionName=short PriorityTier=1 MaxTime=1 PreemptMode=OFF
C
if [ "${3:-}" = --accounting ]; then
  wait_for 60 sacctmgr --noheader list cluster
  sacctmgr --immediate add cluster cotexp >/dev/null || true
  sacctmgr --immediate add account lab Description=lab Organization=lab >/dev/null
  sacctmgr --immediate add user "$user" Account=lab >/dev/null
fi
slurmctld; slurmd -N n1; slurmd -N n2
both_idle() { [ "$(sinfo --noheader --partition=low --format=%D-%T)" = 2-idle ]; }
wait_for 60 both_idle
echo "export SLURM_CONF=$SLURM_CONF"
