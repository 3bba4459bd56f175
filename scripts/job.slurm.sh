#!/usr/bin/env bash
# A training run as a Slurm job on one GPU: sbatch scripts/job.slurm.sh [ARGUMENTS OF convae train]
# On the GPUs of several nodes: sbatch --nodes 4 --ntasks-per-node 8 --gres gpu:8 scripts/job.slurm.sh [ARGUMENTS], with a process for each GPU.
# They need NCCL (libnccl.so.2), and a folder of the run and data that all nodes see. After a node is lost the job may go on with other numbers.
# (default: --data mnist --epochs 10). CONVAE is the program: a binary built with -tags cuda, or a container, such as
# CONVAE="apptainer run --nv convae.sif". RUN is the run's folder (default runs/slurm-JOB).
# Before the time limit, and when the job is preempted, the run saves; the job is requeued and goes on from there. Where
# nodes have no network, download the data set on the login node first: convae data mnist.
#SBATCH --job-name=convae
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=convae-%j.log
# The time limit has a signal of its own: SIGTERM also comes from scancel, which must not requeue, and from a preemption,
# which requeues by itself.
#SBATCH --signal=B:USR1@120
set -uo pipefail
job=${SLURM_JOB_ID:?is set by Slurm: start this script with sbatch}
run=${RUN:-runs/slurm-$job}
read -ra convae <<<"${CONVAE:-convae}"

[ $# -gt 0 ] || set -- --data mnist --epochs 10

# Of several processes the first node has rank 0, where the others find it.
if [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
  export WORLD_SIZE=$SLURM_NTASKS MASTER_PORT=${MASTER_PORT:-$((20000 + job % 20000))}
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  CONVAE_TOKEN=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' ')
  export MASTER_ADDR CONVAE_TOKEN
  convae=(srun --kill-on-bad-exit=1 "${convae[@]}")
fi

# The shell sees a signal at once only while it waits for a child in the background.
requeue=
"${convae[@]}" train --device "${DEVICE:-cuda}" --log json "$@" --out "$run" --continue &
child=$!
trap 'requeue=1; kill -TERM "$child"' USR1
trap 'kill -TERM "$child"' TERM
while kill -0 "$child" 2>/dev/null; do wait "$child"; done # a signal ends a wait, not the child
wait "$child"
status=$?
if [ -n "$requeue" ] && [ "$status" -eq 130 ]; then
  scontrol requeue "$job"
fi
exit "$status"
