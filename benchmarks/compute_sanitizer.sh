#!/usr/bin/env bash
# The CUDA kernels under NVIDIA's compute-sanitizer, by each of its four tools:
#
#     memcheck     accesses out of bounds or misaligned, errors of the API
#     racecheck    hazards on shared memory
#     initcheck    reads of device memory that nothing wrote
#     synccheck    barriers that some threads of a block do not reach
#
#     benchmarks/compute_sanitizer.sh [FOLDER [TESTS...]]
#
# FOLDER is where the logs go (default: benchmarks/results). TESTS are arguments of pytest in place of the default ones,
# which launch every kernel with small images; `-m gpu` always holds. SECONDS_EACH (default 240) limits each tool.
#
# Uses the python on PATH, with the package installed with CUDA. Prints a line for each tool and ends with 1 if one
# reported anything, a test failed or no test ran, and with 2 if there is no compute-sanitizer.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
limit=${SECONDS_EACH:-240}
tests=("${@:2}")
if [ ${#tests[@]} = 0 ]; then
    tests=(tests/test_rendering.py tests/test_camera.py tests/test_visual_atoms.py tests/test_noise.py
        tests/test_density.py tests/test_scenes.py
        -k "current_stream or end_alike or drawn_on_the_way or shrink_far or bits_of_the_cpu or as_the_cpu_does")
fi
if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not on PATH; it comes with the CUDA toolkit, in its folder bin" >&2
    exit 2
fi
mkdir -p "$out"
declare -a summary=()
failed=0
for tool in memcheck racecheck initcheck synccheck; do
    begin=$SECONDS status=0
    timeout "$limit" compute-sanitizer --tool "$tool" --error-exitcode 9 \
        python -m pytest -q -m gpu -p no:cacheprovider "${tests[@]}" >"$out/$tool.log" 2>&1 || status=$?
    tail -n 12 "$out/$tool.log"
    case $status in
    0)
        # Where there is no GPU every test is skipped, and pytest is content.
        if grep -Eq '(^|[^0-9])[1-9][0-9]* passed' "$out/$tool.log"; then verdict=clean; else verdict="no test ran"; fi
        ;;
    9) verdict="reports, see $out/$tool.log" ;;
    124) verdict="no end after $limit s" ;;
    *) verdict="rc $status" ;;
    esac
    [ "$verdict" = clean ] || failed=1
    summary+=("$(printf '%-10s %4d s  %s' "$tool" $((SECONDS - begin)) "$verdict")")
done
printf '%s\n' "${summary[@]}"
exit $failed
