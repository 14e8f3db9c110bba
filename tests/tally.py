#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add up the JUnit files of a test run: a line a suite, what failed, and last `N passed, N failed`."""
import pathlib
import sys
import xml.etree.ElementTree as xml


class Tally:
    def __init__(self):
        self.passed, self.failures, self.skipped, self.seconds = 0, [], 0, 0.0

    def read(self, path):
        for case in xml.parse(path).getroot().iter('testcase'):
            name = f'{case.get("classname", "")} {case.get("name", "")}'.strip()
            self.seconds += float(case.get('time') or 0)
            if case.find('failure') is not None or case.find('error') is not None:
                self.failures.append(name)
            elif case.find('skipped') is not None:
                self.skipped += 1
            else:
                self.passed += 1


def main(folder, suites, broken):
    total = Tally()
    print('\nsuite     passed  failed  skipped')
    for suite in suites:
        tally = Tally()
        files = sorted(pathlib.Path(folder).glob(f'{suite}.xml')) + sorted(pathlib.Path(folder).glob(f'{suite}-*.xml'))
        for path in files:
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
