-- SPDX-License-Identifier: GPL-3.0-or-later
-- Configuration out of etcd was tied to version 2 of its protocol, which is gone. Configurations that load the
-- module are told so, and what to do.
error('module etcd is not available: the protocol of etcd version 2, which it spoke, has been removed from etcd. '
	.. 'Let a program that watches etcd (such as confd) write the configuration, or send changes to the control '
	.. 'socket with kresc', 0)
