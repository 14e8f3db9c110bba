/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Log target syslog: the journal with level and place of the code where systemd runs, else the
 * socket of syslog. Neither is ever waited for (F-42): a line that is not taken at once is counted
 * and told of with the next one that is.
 */
#pragma once

/** Take lines of the target from now on. */
void log_target_start(void);
