#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add up the results of a test run: a line a suite, what failed, and last `N passed, N failed`."""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml


TAP_LINE = re.compile(r'^(not ok|FAIL|ok)\b *(.*)$', re.M)


class Tally:
    def __init__(self):
        self.passed, self.failures, self.skipped = 0, [], 0

    def read(self, path):
        if path.suffix == '.json':
            for line in path.read_text().splitlines():
                self._meson_test(json.loads(line))
        else:
            for case in xml.parse(path).getroot().iter('testcase'):
                self._junit_case(case)

    def _meson_test(self, test):
        """A program may tell of its parts in TAP; one that does not is one test."""
        parts = TAP_LINE.findall(test.get('stdout') or '')
        failures = [f'{test["name"]} {part}' for verdict, part in parts if verdict != 'ok']
        skipped = sum('# skip' in part.lower() for _, part in parts)
        is_good = test['result'] in ('OK', 'EXPECTEDFAIL')
        self.skipped += skipped + (test['result'] == 'SKIP')
        self.passed += len(parts) - len(failures) - skipped if parts else is_good
        if not is_good and test['result'] != 'SKIP':
            self.failures += failures or [f'{test["name"]} ({test["result"]})']

    def _junit_case(self, case):
        if case.find('failure') is not None or case.find('error') is not None:
            self.failures.append(f'{case.get("classname", "")} {case.get("name", "")}'.strip())
        elif case.find('skipped') is not None:
            self.skipped += 1
        else:
            self.passed += 1


def main(folder, suites, broken):
    total = Tally()
    print('\nsuite     passed  failed  skipped')
    for suite in suites:
        tally = Tally()
        for path in sorted(pathlib.Path(folder).iterdir()):
            if re.match(rf'{suite}[.-]', path.name):
                tally.read(path)
        if suite in broken and not tally.failures:
            tally.failures.append('(broke off)')
        if not tally.passed and not tally.failures:
            tally.failures.append('(ran no test)')
        print(f'{suite:8} {tally.passed:7} {len(tally.failures):7} {tally.skipped:8}')
        total.passed += tally.passed
        total.failures += [f'{suite}: {name}' for name in tally.failures]
    for name in total.failures:
        print(f'FAILED {name}')
    print(f'\n{total.passed} passed, {len(total.failures)} failed')
    return 1 if total.failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2].split(), sys.argv[3].split()))
