/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The yardstick: sends every datagram back with the QR bit set, in batches, on one thread. What it
 * costs the kernel alone costs, so no resolver on kernel UDP sockets can be cheaper.
 * usage: bench_echo ADDRESS PORT
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 32, MSG_MAX = 1232 };

static uint8_t buf[BATCH][MSG_MAX];
static struct sockaddr_in peer[BATCH];
static struct iovec iov[BATCH];
static struct mmsghdr mmsg[BATCH];

static void turn(int fd)
{
	for (int i = 0; i < BATCH; ++i) {
		iov[i] = (struct iovec){.iov_base = buf[i], .iov_len = MSG_MAX};
		mmsg[i].msg_hdr = (struct msghdr){
			.msg_name = &peer[i],
			.msg_namelen = sizeof(peer[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
		};
	}
	int count = recvmmsg(fd, mmsg, BATCH, MSG_WAITFORONE, NULL);
	for (int i = 0; i < count; ++i) {
		iov[i].iov_len = mmsg[i].msg_len;
		buf[i][2] |= 0x80;
	}
	for (int done = 0; done < count;) {
		int ret = sendmmsg(fd, mmsg + done, count - done, 0);
		done += ret > 0 ? ret : 1;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET};
	if (argc != 3 || inet_pton(AF_INET, argv[1], &here.sin_addr) != 1) {
		fprintf(stderr, "usage: bench_echo ADDRESS PORT\n");
		return 2;
	}
	here.sin_port = htons(strtoul(argv[2], NULL, 10));
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) != 0) {
		perror("bench_echo");
		return 1;
	}
	while (1)
		turn(fd);
}
