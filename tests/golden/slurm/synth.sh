#!/usr/bin/env bash
# Written by: ipt slurm render quickstart 'run.dir=/shared/my runs/it'"'"'s $HOME' 'eval.prompt=a "b" '"'"'c'"'"' `d` $(touch pwned) \  * e' --stage synth --nodes 2 --gpus-per-node 2 --cpus-per-task 4 --time 2-00:00:00 --partition big --account lab --save-before 180 --bin /opt/ipt/bin
# Hand in with: sbatch 'my job.sbatch'
#SBATCH --job-name=ipt-synth-it-s--HOME
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=2
#SBATCH --time=2-00:00:00
#SBATCH --exclusive
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=ipt-synth-%j.log
#SBATCH --partition=big
#SBATCH --account=lab
set -uo pipefail
umask 077

# Values may hold a $ that nobody is to expand.
# shellcheck disable=SC2016
{
  bin=/opt/ipt/bin
  state='/shared/my runs/it'"'"'s $HOME/logs/slurm'/"$SLURM_JOB_ID"
  config=(quickstart 'run.dir=/shared/my runs/it'"'"'s $HOME' 'eval.prompt=a "b" '"'"'c'"'"' `d` $(touch pwned) \ 
* e')
}

# The first node runs this script, and rank 0 or the head of Ray's cluster.
head_name="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
head_address="$(getent ahostsv4 "$head_name" | awk '$1 !~ /^127\./ { print $1; exit }')"
head_address="${head_address:-$(hostname -I | awk '{ print $1 }')}"
export PATH="$bin:$PATH" MASTER_ADDR="$head_address" MASTER_PORT="$((20000 + SLURM_JOB_ID % 10000))"

say() { printf '%s ipt-slurm: %s\n' "$(date -u +%FT%TZ)" "$*"; }

# show COMMAND...: say a command so that it can be typed by hand, then run it.
show() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

# record STATE COMMAND...: run a command on a node; its process and its exit code are files of STATE.
record() {
  local node="$1/node-$SLURM_NODEID" code=0
  shift
  "$@" &
  printf '%s\n' "$!" >"$node.pid"
  wait "$!" || code="$?"
  rm -f "$node.pid"
  printf '%s\n' "$code" >"$node.code"
  return "$code"
}

# on_nodes NUMBER COMMAND...: run a command on the first nodes, once on each.
on_nodes() {
  local number="$1"
  shift
  start "$number" bash "$state/record.sh" "$state" "$@"
}

# on_ray COMMAND...: run a command on the head of a Ray cluster of all nodes, which ends with it.
on_ray() {
  local -x RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$state/ray-token"
  local -x RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600
  local code=0
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH"
  start 2 ray symmetric-run --address "$head_address:$MASTER_PORT" --min-nodes 2 \
    --num-cpus 4 --num-gpus 2 -- \
    env RAY_ADDRESS="$head_address:$MASTER_PORT" bash "$state/record.sh" "$state" "$@" || code="$?"
  rm -f "$RAY_AUTH_TOKEN_PATH"
  if [ ! -e "$state/node-0.code" ]; then
    say "Ray's cluster did not start"
    code=1  # Ray's own is 0 then
  fi
  return "$code"
}

# start NUMBER COMMAND...: a step on the first nodes, to its end; one exit code for all of them.
# Once it has ended on one node, the others get two minutes to end in order, too.
start() {
  local number="$1" step code=0 wanted
  shift
  rm -f "$state"/*.pid "$state"/*.code
  show srun --nodes="$number" --ntasks="$number" --ntasks-per-node=1 \
    --cpus-per-task=4 --nodelist="$(first_nodes "$number")" --wait=120 "$@" &
  step="$!"
  while kill -0 "$step" 2>/dev/null; do wait "$step"; done  # a signal ends the wait, not the step
  wait "$step" || code="$?"
  for wanted in 2 75 70; do
    if grep -qsx "$wanted" "$state"/*.code; then return "$wanted"; fi
  done
  return "$code"
}

first_nodes() { scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n "$1" | paste -sd,; }

# Slurm says so 180 s before the time limit. Only the process that saves may hear of it: a signal
# to the whole step would end launchers and Ray, too. It may be starting, so it is waited for.
stop_asked=""
ask_to_stop() {
  stop_asked=yes
  say "the time limit is near: the run is asked to save and stop"
  while [ -d "$state" ]; do
    if [ -e "$state/node-0.pid" ]; then
      show kill -TERM "$(<"$state/node-0.pid")"
      break
    fi
    sleep 1
  done &
}
trap ask_to_stop USR1

# What is complete says so and ends, so each start of this job does what is left.
run_all() {
  [ -z "$stop_asked" ] || return 75
  on_ray ipt synth "${config[@]}" || return "$?"
}

mkdir -p "$state"
printf '%s\n' "$(declare -f record)" "record \"\$@\"" >"$state/record.sh"
run_all
code="$?"
say "exit code $code"
# A stage that was asked to stop has not failed, however it says so: it goes on where it was.
case "$code" in 0 | 2) ;; *) [ -z "$stop_asked" ] || code=75 ;; esac
case "$code" in
  0)
    rm -rf "$state"
    exit 0
    ;;
  2)
    say "bad input: starting again would not help"
    rm -rf "$state"
    exit 2
    ;;
  75) rm -f "$state/failures" ;;
  *)
    printf '%s\n' "$code" >>"$state/failures"
    if [ "$(wc -l <"$state/failures")" -ge 3 ]; then
      say "3 failures in a row: giving up"
      rm -rf "$state"
      exit "$code"
    fi
    ;;
esac
show scontrol requeue "$SLURM_JOB_ID" || exit "$code"
