/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/dns_frame.h"

#include <string.h>

#include "lib/check.h"

#define PREFIX_LEN 2
#define DNS_HEADER_LEN 12
/** First size of the buffer; grows as bytes come, not as they are announced. */
#define BUF_MIN 256

struct frame_state {
	uint8_t *buf; /**< what was not handed up yet */
	size_t len, cap;
	unsigned runts;
};

static void drop_buffer(struct stage *st)
{
	struct frame_state *frame = stage_state(st);
	stage_hold(st, frame->cap, 0);
	free(frame->buf);
	frame->buf = NULL;
	frame->len = frame->cap = 0;
}

static int keep(struct stage *st, struct bytes in)
{
	struct frame_state *frame = stage_state(st);
	if (in.len > frame->cap - frame->len) {
		size_t cap = frame->cap ? frame->cap : BUF_MIN;
		while (cap - frame->len < in.len)
			cap *= 2;
		uint8_t *buf = realloc(frame->buf, cap);
		if (!buf)
			return kr_error(ENOMEM);
		int ret = stage_hold(st, frame->cap, cap);
		frame->buf = buf;
		frame->cap = cap;
		if (ret != 0)
			return ret;
	}
	memcpy(frame->buf + frame->len, in.at, in.len);
	frame->len += in.len;
	return kr_ok();
}

static void skip(struct bytes *in, size_t len)
{
	in->at += len;
	in->len -= len;
}

/** Hand up the whole messages at the beginning of `in` and skip them. */
static int deliver(struct stage *st, struct bytes *in)
{
	struct frame_state *frame = stage_state(st);
	while (in->len >= PREFIX_LEN && !stage_is_held(st)) {
		const size_t len = (size_t)in->at[0] << 8 | in->at[1];
		if (len == 0)
			return kr_error(EBADMSG);
		if (in->len - PREFIX_LEN < len)
			break;
		const struct bytes msg = {in->at + PREFIX_LEN, len};
		skip(in, PREFIX_LEN + len);
		if (len < DNS_HEADER_LEN) {
			if (++frame->runts > DNS_FRAME_RUNTS_MAX)
				return kr_error(EBADMSG);
			continue;
		}
		int ret = stage_up(st, msg);
		if (ret < 0)
			return ret;
	}
	return kr_ok();
}

/** Deliver from our own buffer; the rest moves to its front. */
static int deliver_kept(struct stage *st)
{
	struct frame_state *frame = stage_state(st);
	struct bytes in = {frame->buf, frame->len};
	int ret = deliver(st, &in);
	if (in.len == 0) {
		drop_buffer(st);
	} else if (in.len < frame->len) {
		memmove(frame->buf, in.at, in.len);
		frame->len = in.len;
	}
	return ret;
}

/** Complete the first kept message with bytes of `in`, and skip those. */
static int complete_kept(struct stage *st, struct bytes *in)
{
	struct frame_state *frame = stage_state(st);
	while (frame->len > 0 && in->len > 0) {
		size_t want = PREFIX_LEN;
		if (frame->len >= PREFIX_LEN)
			want += (size_t)frame->buf[0] << 8 | frame->buf[1];
		if (frame->len >= want) /* more than one is kept: they are all held back */
			want = frame->len + in->len;
		const size_t take = KR_MIN(want - frame->len, in->len);
		int ret = keep(st, (struct bytes){in->at, take});
		if (ret != 0)
			return ret;
		skip(in, take);
		ret = deliver_kept(st);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

static int frame_up(struct stage *st, struct bytes in)
{
	struct frame_state *frame = stage_state(st);
	int ret = complete_kept(st, &in);
	if (ret == 0 && in.len > 0)
		ret = deliver(st, &in);
	if (ret == 0 && in.len > 0)
		ret = keep(st, in);
	stage_set_partial(st, frame->len > 0);
	return ret;
}

static int frame_down(struct stage *st, struct bytes out)
{
	if (!out.at)
		return kr_ok();
	if (kr_fails_assert(out.len > 0 && out.len <= KR_DNS_WIRE_MAX))
		return kr_error(EMSGSIZE);
	const uint8_t prefix[PREFIX_LEN] = {out.len >> 8, out.len & 0xff};
	int ret = stage_down(st, (struct bytes){prefix, sizeof(prefix)});
	return ret < 0 ? ret : stage_down(st, out);
}

static int frame_event(struct stage *st, enum stage_event ev)
{
	struct frame_state *frame = stage_state(st);
	if (ev == STAGE_RESUME && frame->len > 0) {
		int ret = deliver_kept(st);
		stage_set_partial(st, frame->len > 0);
		if (ret != 0 || stage_is_held(st))
			return ret; /* held back again: those below stay as they are */
	}
	return stage_event(st, ev);
}

static void frame_deinit(struct stage *st)
{
	drop_buffer(st);
}

const struct stage_ops dns_frame_stage = {
	.name = "dns_frame",
	.state_size = sizeof(struct frame_state),
	.up = frame_up,
	.down = frame_down,
	.event = frame_event,
	.deinit = frame_deinit,
};
