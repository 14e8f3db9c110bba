#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Lay out Lua files, modules and data in a build tree as they will lie when installed, so that programs
# run from there (daemon/libdir.h). Links, not copies: an edited file counts at once.
# usage: stage.sh SOURCE_ROOT BUILD_ROOT STAMP
set -eu
src=$1
build=$2
stage=$build/lua

mkdir -p "$stage/kres_modules"
# what was renamed or removed must not be found any more
find "$stage" -xtype l -name '*.lua' -delete

for file in "$src"/daemon/lua/*.lua; do
	ln -sfn "$file" "$stage/"
done
for file in "$build"/daemon/*.lua; do
	[ -e "$file" ] && ln -sfn "$file" "$stage/"
done
for file in "$src"/modules/*/*.lua; do
	case $file in
	*.test.lua) ;;
	*) ln -sfn "$file" "$stage/kres_modules/" ;;
	esac
done
for folder in "$src"/modules/*/static; do
	name=${folder%/static}
	ln -sfn "$folder" "$stage/kres_modules/${name##*/}"
done
ln -sfn "$src/etc" "$stage/etc"
: > "$stage/.kresd-build"
: > "$3"
