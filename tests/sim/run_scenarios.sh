#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Run all scenarios: those beside the code, those of tests/sim, and the folder KRES_SCENARIOS (default:
# shared/scenarios/sets next to the source tree) if it exists.
# usage: run_scenarios.sh SIM SOURCE_ROOT [options of sim]
set -eu
sim=$1
root=$2
shift 2
more=${KRES_SCENARIOS:-$root/../shared/scenarios/sets}
find "$root/lib" "$root/modules" "$root/daemon" "$root/tests/sim/scenarios" -name '*.rpl' 2>/dev/null |
	sort >"${TMPDIR:-/tmp}/kres-scenarios.$$"
if [ -d "$more" ]; then
	find "$more" -name '*.rpl' | sort >>"${TMPDIR:-/tmp}/kres-scenarios.$$"
fi
status=0
xargs "$sim" "$@" <"${TMPDIR:-/tmp}/kres-scenarios.$$" || status=$?
rm -f "${TMPDIR:-/tmp}/kres-scenarios.$$"
exit $status
