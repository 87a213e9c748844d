#!/usr/bin/env bash
# Starts the ranks of the one node. The rendezvous is static, so that ranks lie where the plan puts them.
set -euo pipefail
cd "$(dirname "$0")/.."
exec torchrun \
  --nnodes="${NNODES:-1}" --nproc-per-node="${NPROC_PER_NODE:-4}" --node-rank="${NODE_RANK:-0}" \
  --rdzv-backend=static --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${MASTER_PORT:-29500}" \
  --max-restarts="${MAX_RESTARTS:-0}" \
  train.py "$@"
