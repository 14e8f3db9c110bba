#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# stage.sh FILE FOLDER STAMP: put FILE into FOLDER by rename, so that a running program keeps its old copy.
set -eu
mkdir -p "$2"
cp "$1" "$2/.stage-$$"
mv "$2/.stage-$$" "$2/${1##*/}"
: >"$3"
