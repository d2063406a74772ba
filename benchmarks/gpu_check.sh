#!/usr/bin/env bash
# One command for a machine with a GPU: all `gpu` tests on the real device, then the benchmark; under 8 minutes.
#
#   benchmarks/gpu_check.sh FOLDER [--longlm PATH]
#
# FOLDER gets gpu_tests.xml, bench_cuda.json and bench_cuda.html. PYTHON picks the interpreter; without it, the
# repository's .venv or else python3. Exit code: 0 all is well, 1 a test or the benchmark failed, 2 it cannot start.
set -uo pipefail

TESTS_SECONDS=200
BENCH_SECONDS=260

fail() {
    echo "gpu_check: $1" >&2
    exit 2
}

[ $# -ge 1 ] || fail "give the folder for the results: benchmarks/gpu_check.sh FOLDER [--longlm PATH]"
mkdir -p "$1" || fail "the folder $1 cannot be made"
folder=$(cd "$1" && pwd)
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
longlm=()
if [ $# -eq 2 ] && [ "$1" = "--longlm" ]; then
    longlm=(--longlm "$(cd "$2" && pwd)") || fail "there is no folder $2"
elif [ $# -gt 0 ]; then
    fail "unknown arguments: $*; use --longlm PATH"
fi
cd "$root" || fail "there is no folder $root"

python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
unset TRITON_INTERPRET

"$python" - <<'PYTHON_END' || exit 2
import sys

try:
    import pytest
    import torch

    import selfextend_viz.cli
except ImportError as error:
    sys.exit(f"gpu_check: {error}; install the package with its dev extra, or set PYTHON to an interpreter that has it")
if not torch.cuda.is_available():
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    sys.exit(f"gpu_check: torch {torch.__version__} ({built}) sees no CUDA device; run this on a machine with a GPU")
print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
PYTHON_END

status=0
echo "== gpu tests"
timeout -s INT "$TESTS_SECONDS" "$python" -m pytest -m gpu -q --timeout 120 --junitxml "$folder/gpu_tests.xml"
tests=$?
[ "$tests" -eq 0 ] || { echo "gpu_check: the gpu tests ended with code $tests" >&2; status=1; }

echo "== benchmark"
timeout -s INT "$BENCH_SECONDS" "$python" -m selfextend_viz bench --device cuda --quick \
    ${longlm[@]+"${longlm[@]}"} --json "$folder/bench_cuda.json" --html "$folder/bench_cuda.html"
bench=$?
[ "$bench" -eq 0 ] || { echo "gpu_check: the benchmark ended with code $bench; what it had is in $folder" >&2; status=1; }
exit "$status"
