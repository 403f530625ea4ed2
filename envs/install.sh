#!/bin/sh
# Install the pinned packages and cytopipe into the Python that is first on the PATH: that of the image or of the
# active conda environment. All recipes beside this file use these steps.
set -eu
cd "$(dirname "$0")/.."
python envs/system_libraries.py
python -m pip install --no-cache-dir --no-deps -r requirements.lock
# a CUDA build of torch needs its own libraries, at its own pins
python -m pip install --no-cache-dir -c requirements.lock "$(grep ^torch== requirements.lock)"
python -m pip install --no-cache-dir --no-deps --no-build-isolation -e .
