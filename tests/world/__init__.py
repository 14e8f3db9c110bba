# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Internet of our own: real authoritative servers, real signatures, known answers. See README.rst."""
