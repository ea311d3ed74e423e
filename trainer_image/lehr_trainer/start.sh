#!/usr/bin/env bash
# How a stock PyTorch container of AWS becomes the trainer: unpack what publish_trainer has put into the channel
# `trainer`, and go on as `python -m lehr_trainer` with the arguments given, in the same process, so that SIGTERM arrives.
set -euo pipefail
root="${LEHR_ML_ROOT:-/opt/ml}"

cd "$root/input/data/trainer"
sha256sum --check --quiet SHA256SUMS
mkdir -p "$root/trainer"
for archive in *.tar.gz; do
    tar --extract --gzip --no-same-owner --file "$archive" --directory "$root/trainer"
done

cd "$root"
# Before the image's own packages: these versions are the ones that were tested together.
export PYTHONPATH="$root/trainer"
exec python3 -m lehr_trainer "$@"
