#!/usr/bin/env bash
# Everything that needs a GPU, in order of importance, so that a short lease of one is never wasted:
# build, bits equal to the CPU's, throughput of the augmented stream, a training step, rendering, the sanitizers.
#
#     benchmarks/gpu_check.sh [FOLDER [PHOTOGRAPHS]]
#
# FOLDER is where logs and JSON go (default: benchmarks/results). With PHOTOGRAPHS, an image folder or a tar archive of one,
# it ends with eight minutes of the experiment `main` at scale h200 in runs/main; started again, it goes on there:
#
#     onepfrac experiment main --scale h200 --data PHOTOGRAPHS --out runs/main --minutes 9
#
# Uses the python on PATH, which must have torch with CUDA, timm, pytest and hypothesis; builds for this GPU alone. Each
# step's outcome is printed at the end; the exit status is 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
mkdir -p "$out"
declare -a summary=()
failed=0

step() { # step NAME SECONDS COMMAND...
    local name=$1 limit=$2
    shift 2
    local begin=$SECONDS status=0
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    tail -n 12 "$out/$name.log"
    summary+=("$(printf '%-12s %-7s %4d s' "$name" "$([ $status = 0 ] && echo ok || echo "rc $status")" $((SECONDS - begin)))")
    [ $status = 0 ] || failed=1
    return $status
}

arch=$(python -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())') || exit 2
step build 240 env ONEPFRAC_CUDA_ARCHS="$arch" python -m pip install --no-build-isolation --no-deps . || {
    printf '%s\n' "${summary[@]}"
    exit 1
}
step bits 300 python -m pytest -q -m gpu -p no:cacheprovider tests
step simd 120 python -m pytest -q -p no:cacheprovider tests/test_rendering.py -k "simd or golden or twin or dtype"
for name in stream_gpu train render_gpu growth_gpu; do
    step "$name" 200 python benchmarks/run.py "$name"
done
cp benchmarks/results/*_gpu.json "$out" 2>/dev/null
step quick 240 onepfrac pretrain --preset quick --device cuda --out "$out/quick"
rm -rf "$out/quick" # weights are not results; its log holds speed and waiting time
if command -v compute-sanitizer >/dev/null; then
    step sanitizers 1000 benchmarks/compute_sanitizer.sh "$out"
else
    summary+=("sanitizers   absent (compute-sanitizer is not on PATH)")
fi
if [ -n "${2:-}" ]; then
    step main 560 onepfrac experiment main --scale h200 --data "$2" --out runs/main --minutes 8
    cp runs/main/results*.jsonl runs/main/report.* "$out" 2>/dev/null
fi
printf '%s\n' "${summary[@]}"
exit $failed
