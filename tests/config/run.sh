#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Run a Lua test inside kresd, in a folder of its own. usage: run.sh KRESD TEST.lua
set -eu
kresd=$(realpath "$1")
test=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$here"/*.data "$(dirname "$test")"/*.data "$folder" 2>/dev/null || true
# what a user would have in the working folder
cp -r "$(dirname "$test")"/kres_modules "$(dirname "$test")"/conf "$folder" 2>/dev/null || true
cd "$folder"
KRESD_NO_LISTEN=1 TEST_FOLDER=$folder TEST_SOURCE=$here "$kresd" -n -c "$here/assert.lua" -c "$here/client.lua" -c "$here/entries.lua" -c "$test"
