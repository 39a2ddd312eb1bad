#!/usr/bin/env bash
# The baseline that the published ablation lacks: FRM+FFM at all four stages, its fast schedule.
#   scripts/run_cmx_baseline.sh IMAGES LABELS [OUTPUT_DIR] [further flags of tune-cmx train]
# Leaves OUTPUT_DIR/final_results.json. A run that is cut short goes on when the same command is given again.
set -euo pipefail
PATH="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH"
if [ $# -lt 2 ]; then
  sed -n '2,4p' "$0" >&2
  exit 2
fi
images=$1 labels=$2 output=${3:-runs/cmx_baseline}
shift $(($# < 3 ? $# : 3))
exec tune-cmx train --data "$images" --labels "$labels" --backbone mit_b1 --epochs 15 --batch-size 16 --lr 0.02 \
  --fusion-type frm_ffm --no-cssa --output-dir "$output" "$@"
