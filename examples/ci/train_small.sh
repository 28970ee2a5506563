#!/usr/bin/env bash
# Trains small, and fails where the training has a problem that the baseline does not know.
#
#   examples/ci/train_small.sh             in a pipeline, or before a push
#   examples/ci/train_small.sh --accept    writes what is found to the baseline: commit it
#
# TRAIN is the command that trains, BASELINE the file of what is known.
set -euo pipefail
cd "$(dirname "$0")/.."

train=${TRAIN:-python movielens_mf.py --epochs 6}
baseline=${BASELINE:-ci/gradtracer-baseline.json}

$train

if [ "${1:-}" = "--accept" ]; then
  exec gradtracer check --baseline "$baseline" --write-baseline
fi

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  gradtracer check --baseline "$baseline" --output-format markdown >> "$GITHUB_STEP_SUMMARY" || true
fi
gradtracer check --baseline "$baseline" --output-format sarif > gradtracer.sarif || true
gradtracer report -o gradtracer.html

format=text
[ -n "${GITHUB_ACTIONS:-}" ] && format=github
exec gradtracer check --baseline "$baseline" --output-format "$format"
