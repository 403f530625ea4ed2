#!/bin/sh
# The pinned packages and cytopipe itself, into the Python that is first on the PATH: of the image, or
# of the active conda environment. One list of steps for all recipes beside this file.
set -eu
cd "$(dirname "$0")/.."
python envs/system_libraries.py
python -m pip install --no-cache-dir --no-deps -r requirements.lock
# a CUDA build of torch brings libraries of its own, at its own pins
python -m pip install --no-cache-dir -c requirements.lock "$(grep ^torch== requirements.lock)"
python -m pip install --no-cache-dir --no-deps --no-build-isolation -e .
