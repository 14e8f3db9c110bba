/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <uv.h>

#include "daemon/ffi_layer.h"
#include "lib/log.h"

/** Longest waiting time, ms: what a 32-bit count holds. */
#define EVENT_MS_MAX UINT32_MAX

enum event_kind {
	EVENT_FREE = 0,
	EVENT_TIMER,
	EVENT_SOCKET,
};

/** An event; ids are positions in the table and are used again. */
struct event {
	enum event_kind kind;
	uint32_t id;
	uint32_t serial; /**< tells a new event from an ended one in the same place */
	int fn_ref;
	uint64_t repeat_ms; /**< 0 = once */
	bool is_again;      /**< rescheduled or repeating: stays after its function ran */
	bool is_orphan;     /**< no longer in the table: free after closing */
	struct netio_timer timer;
	uv_poll_t poll;
};

static event_array_t events;
static uint32_t next_serial;

static struct event *event_get(uint32_t id)
{
	return id < events.len && events.at[id]->kind != EVENT_FREE ? events.at[id] : NULL;
}

/** A free place in the table. */
static struct event *event_place(void)
{
	for (size_t i = 0; i < events.len; ++i)
		if (events.at[i]->kind == EVENT_FREE)
			return events.at[i];
	struct event *ev = calloc(1, sizeof(*ev));
	if (!ev)
		return NULL;
	ev->id = events.len;
	if (array_push(events, ev) < 0) {
		free(ev);
		return NULL;
	}
	return ev;
}

static struct event *event_new(enum event_kind kind)
{
	struct event *ev = event_place();
	if (!ev)
		return NULL;
	ev->kind = kind; /* the timer keeps what its implementation has put there */
	ev->serial = ++next_serial;
	ev->fn_ref = LUA_NOREF;
	ev->repeat_ms = 0;
	ev->is_again = false;
	return ev;
}

/** libuv gives the handle back one turn after it was closed. */
static void on_poll_closed(uv_handle_t *handle)
{
	struct event *ev = handle->data;
	ev->kind = EVENT_FREE;
	if (ev->is_orphan)
		free(ev);
}

static void event_end(struct event *ev)
{
	struct netio *io = the_engine->io;
	if (ev->fn_ref == LUA_NOREF)
		return; /* ended already, the handle is being closed */
	luaL_unref(the_engine->L, LUA_REGISTRYINDEX, ev->fn_ref);
	ev->fn_ref = LUA_NOREF;
	if (ev->kind == EVENT_TIMER) {
		io->ops->timer_stop(io, &ev->timer);
		ev->kind = EVENT_FREE;
	} else {
		uv_close((uv_handle_t *)&ev->poll, on_poll_closed);
	}
}

/** Run the function of an event; an error in it is logged and ends the event. */
static bool event_call(struct event *ev, int extra_args)
{
	lua_State *L = the_engine->L;
	lua_rawgeti(L, LUA_REGISTRYINDEX, ev->fn_ref);
	lua_insert(L, -1 - extra_args);
	lua_pushinteger(L, ev->id);
	lua_insert(L, -1 - extra_args);
	if (engine_pcall(L, extra_args + 1, 0, GUARD_EVENT_MS) == 0)
		return true;
	kr_log_error(SYSTEM, "error: event %u: %s\n", ev->id, lua_tostring(L, -1));
	lua_pop(L, 1);
	return false;
}

static void on_timer(struct netio_timer *timer)
{
	struct event *ev = (struct event *)((char *)timer - offsetof(struct event, timer));
	struct netio *io = the_engine->io;
	ev->is_again = ev->repeat_ms > 0;
	if (ev->is_again) /* started first so that the function may cancel it */
		io->ops->timer_start(io, &ev->timer, ev->repeat_ms);
	const uint32_t serial = ev->serial;
	bool is_good = event_call(ev, 0);
	/* The function may have cancelled the event and made another one in its place. */
	if (ev->kind == EVENT_TIMER && ev->serial == serial && (!is_good || !ev->is_again))
		event_end(ev);
}

static void on_readable(uv_poll_t *poll, int status, int poll_events)
{
	struct event *ev = poll->data;
	const uint32_t serial = ev->serial;
	lua_pushinteger(the_engine->L, status);
	lua_pushinteger(the_engine->L, poll_events);
	if (!event_call(ev, 2) && ev->serial == serial)
		event_end(ev);
}

static int start_timer(lua_State *L, uint64_t after_ms, uint64_t repeat_ms)
{
	struct netio *io = the_engine->io;
	struct event *ev = event_new(EVENT_TIMER);
	if (!ev)
		return luab_oserror(L, ENOMEM);
	ev->timer.fire = on_timer;
	ev->repeat_ms = repeat_ms;
	int ret = io->ops->timer_start(io, &ev->timer, after_ms);
	if (ret != 0) {
		ev->kind = EVENT_FREE;
		return luab_oserror(L, ret);
	}
	lua_pushvalue(L, 2);
	ev->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushinteger(L, ev->id);
	return 1;
}

static void check_timer_args(lua_State *L, const char *name, uint64_t min)
{
	if (lua_gettop(L) < 2 || !lua_isfunction(L, 2))
		luab_error(L, "expected event.%s(number milliseconds, function)", name);
	luab_number(L, 1, min, EVENT_MS_MAX, "the time in milliseconds");
}

static int event_after(lua_State *L)
{
	check_timer_args(L, "after", 0);
	return start_timer(L, lua_tonumber(L, 1), 0);
}

static int event_recurrent(lua_State *L)
{
	check_timer_args(L, "recurrent", 1);
	return start_timer(L, 0, lua_tonumber(L, 1));
}

static int event_socket(lua_State *L)
{
	uv_loop_t *loop = the_engine->net.loop;
	if (lua_gettop(L) < 2 || !lua_isfunction(L, 2))
		return luab_error(L, "expected event.socket(number file descriptor, function)");
	int fd = luab_number(L, 1, 0, INT32_MAX, "the file descriptor");
	if (!loop)
		return luab_error(L, "there is no event loop to watch a socket with");
	struct event *ev = event_new(EVENT_SOCKET);
	if (!ev)
		return luab_oserror(L, ENOMEM);
	ev->poll.data = ev;
	int ret = uv_poll_init(loop, &ev->poll, fd);
	if (ret != 0) {
		ev->kind = EVENT_FREE;
		return luab_error(L, "cannot watch file descriptor %d: %s", fd, uv_strerror(ret));
	}
	lua_pushvalue(L, 2);
	ev->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	ret = uv_poll_start(&ev->poll, UV_READABLE, on_readable);
	if (ret != 0) {
		event_end(ev);
		return luab_error(L, "cannot watch file descriptor %d: %s", fd, uv_strerror(ret));
	}
	lua_pushinteger(L, ev->id);
	return 1;
}

static struct event *event_arg(lua_State *L, const char *usage)
{
	if (lua_type(L, 1) != LUA_TNUMBER)
		luab_error(L, "expected %s", usage);
	double id = lua_tonumber(L, 1);
	if (!(id >= 0 && id < (double)UINT32_MAX))
		return NULL;
	struct event *ev = event_get(id);
	return ev && ev->fn_ref != LUA_NOREF ? ev : NULL;
}

static int event_cancel(lua_State *L)
{
	struct event *ev = event_arg(L, "event.cancel(number event)");
	if (ev)
		event_end(ev);
	lua_pushboolean(L, ev != NULL);
	return 1;
}

static int event_reschedule(lua_State *L)
{
	struct netio *io = the_engine->io;
	struct event *ev = event_arg(L, "event.reschedule(number event, number milliseconds)");
	uint64_t ms = luab_number(L, 2, 0, EVENT_MS_MAX, "the time in milliseconds");
	bool is_done = ev && ev->kind == EVENT_TIMER;
	if (is_done) {
		ev->repeat_ms = 0;
		ev->is_again = true;
		int ret = io->ops->timer_start(io, &ev->timer, ms);
		if (ret != 0)
			return luab_oserror(L, ret);
	}
	lua_pushboolean(L, is_done);
	return 1;
}

void luab_event_deinit(void)
{
	for (size_t i = 0; i < events.len; ++i) {
		struct event *ev = events.at[i];
		/* A poll handle is the loop's until its closing callback ran. */
		ev->is_orphan = ev->kind == EVENT_SOCKET;
		if (ev->kind != EVENT_FREE)
			event_end(ev);
		if (!ev->is_orphan)
			free(ev);
	}
	array_clear(events);
}

void luab_event_swap(event_array_t *other)
{
	const event_array_t was = events;
	events = *other;
	*other = was;
}

void luab_event(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"after", event_after},
		{"recurrent", event_recurrent},
		{"reschedule", event_reschedule},
		{"cancel", event_cancel},
		{"socket", event_socket},
		{NULL, NULL},
	};
	luab_register(L, "event", functions);
}
