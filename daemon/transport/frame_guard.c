/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/frame_guard.h"

#include "daemon/transport/http2.h"

/** "PRI * HTTP/2.0" and so on, RFC 9113 section 3.4; its text is checked by the library. */
#define PREFACE_LEN 24
#define HEADER_LEN 9
#define FLAG_END_STREAM 0x1

/* Frame types, RFC 9113 section 6. */
enum {
	FRAME_DATA,
	FRAME_HEADERS,
	FRAME_PRIORITY,
	FRAME_RST_STREAM,
	FRAME_SETTINGS,
	FRAME_PUSH_PROMISE,
	FRAME_PING,
	FRAME_GOAWAY,
	FRAME_WINDOW_UPDATE,
	FRAME_CONTINUATION,
};

static const uint32_t limits[GUARD_KIND_COUNT] = {
	[GUARD_RESET] = HTTP2_RESETS_MAX,
	[GUARD_SETTINGS] = HTTP2_SETTINGS_MAX,
	[GUARD_PING] = HTTP2_PINGS_MAX,
	[GUARD_EMPTY_DATA] = HTTP2_EMPTY_DATA_MAX,
	[GUARD_PRIORITY] = HTTP2_PRIORITIES_MAX,
	[GUARD_WINDOW_UPDATE] = HTTP2_WINDOW_UPDATES_MAX,
	[GUARD_UNKNOWN] = HTTP2_UNKNOWN_MAX,
};

static void count(struct frame_guard *guard, enum frame_guard_kind kind, int64_t now_s)
{
	if (now_s - guard->window_s >= HTTP2_FLOOD_WINDOW_S || now_s < guard->window_s) {
		guard->window_s = now_s;
		for (int i = 0; i < GUARD_KIND_COUNT; ++i)
			guard->counts[i] = 0;
	}
	if (++guard->counts[kind] > limits[kind])
		guard->is_flooded = true;
}

static void on_header(struct frame_guard *guard, int64_t now_s)
{
	const uint8_t *h = guard->header;
	const uint8_t type = h[3];
	guard->payload = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
	if (type == FRAME_CONTINUATION) {
		if (++guard->continuations > HTTP2_CONTINUATIONS_MAX)
			guard->is_flooded = true;
		return;
	}
	guard->continuations = 0;
	switch (type) {
	case FRAME_DATA:
		if (guard->payload == 0 && !(h[4] & FLAG_END_STREAM))
			count(guard, GUARD_EMPTY_DATA, now_s);
		break;
	case FRAME_HEADERS:
		break; /* the number of streams is limited */
	case FRAME_PRIORITY:
		count(guard, GUARD_PRIORITY, now_s);
		break;
	case FRAME_RST_STREAM:
		count(guard, GUARD_RESET, now_s);
		break;
	case FRAME_SETTINGS:
		count(guard, GUARD_SETTINGS, now_s);
		break;
	case FRAME_PING:
		count(guard, GUARD_PING, now_s);
		break;
	case FRAME_WINDOW_UPDATE:
		count(guard, GUARD_WINDOW_UPDATE, now_s);
		break;
	default:
		count(guard, GUARD_UNKNOWN, now_s);
		break;
	}
}

bool frame_guard_see(struct frame_guard *guard, struct bytes in, int64_t now_s)
{
	while (in.len > 0 && !guard->is_flooded) {
		size_t take = 1;
		if (guard->preface < PREFACE_LEN) {
			take = KR_MIN(in.len, PREFACE_LEN - guard->preface);
			guard->preface += take;
		} else if (guard->payload > 0) {
			take = KR_MIN(in.len, guard->payload);
			guard->payload -= take;
		} else {
			guard->header[guard->header_len++] = *in.at;
			if (guard->header_len == HEADER_LEN) {
				guard->header_len = 0;
				on_header(guard, now_s);
			}
		}
		in.at += take;
		in.len -= take;
	}
	return !guard->is_flooded;
}

void frame_guard_count_reset(struct frame_guard *guard, int64_t now_s)
{
	count(guard, GUARD_RESET, now_s);
}

bool frame_guard_is_started(const struct frame_guard *guard)
{
	return guard->preface == PREFACE_LEN;
}

bool frame_guard_is_flooded(const struct frame_guard *guard)
{
	return guard->is_flooded;
}
