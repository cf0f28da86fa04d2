#!/usr/bin/env bash
# On a machine with a card: compile the module for it, test every op, measure. Needs python3 with numpy and pytest, gcc, nvcc.
# With ENGINE (the built executable) and MODEL (SmolLM2's GGUF), whole models too: for these the standard library suffices.
set -uo pipefail
cd "$(dirname "$0")/../.."
export LLAMAFILE_TEST_DEVICE=cuda PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-python3}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
begin=$SECONDS
"$python" -c 'from tests.gpu.compiled import module; print(module("cuda"))' || exit 1
echo "compiled in $((SECONDS - begin)) s"

begin=$SECONDS
timeout "${TEST_SECONDS:-100}" "$python" -m pytest -q --maxfail=12 --tb=short -p no:cacheprovider -p no:warnings \
    -o addopts= tests/gpu/test_ops.py 2>&1 | tail -70 | cut -c1-180
echo "tested in $((SECONDS - begin)) s"

if [ -n "${OUT:-}" ]; then # what a profiler and the disassembler say, for whoever improves a kernel
    cp build/gpu/cuda-*.log "$OUT/"
    if command -v cuobjdump >/dev/null; then cuobjdump -sass build/gpu/cuda-*.so | gzip -1 > "$OUT/sass.txt.gz"; fi
    if command -v ncu >/dev/null; then
        timeout "${PROFILE_SECONDS:-60}" ncu --clock-control none --kernel-name-base function \
            --kernel-name 'regex:lf_(few|many|flash)' --section SpeedOfLight --section WarpStateStats --section Occupancy \
            --section LaunchStats --section MemoryWorkloadAnalysis "$python" -m tests.gpu.bench --profile > "$OUT/ncu.txt" 2>&1
    fi
fi
timeout "${BENCH_SECONDS:-120}" "$python" -m tests.gpu.bench 2>&1
if [ -x "${ENGINE:-}" ] && [ -f "${MODEL:-}" ]; then
    "$python" tests/gpu/model_on_card.py --engine "$ENGINE" --model "$MODEL" --work "${WORK:-/tmp/llamafile-card}" \
        --seconds "${MODEL_SECONDS:-150}" 2>&1
fi
