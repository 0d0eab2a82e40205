// SPDX-License-Identifier: MIT
/*
 * Chunks that were brought for faults, in a tier whose policy keeps none of them: each is
 * there when its client comes back to it, however many clients there are, and commands
 * have the room when they need it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/leave.h"
#include "exec/page_in.h"
#include "exec/resid.h"

#define CHUNK		(64u << 10)
#define CAPACITY	4u
#define STAGING		3u
#define SLOTS		(CAPACITY + STAGING)
#define CHUNKS		16u
#define CLIENTS		8u
#define ROUNDS		2000u
#define ROUND_US	1000u

/**
 * struct device - as much of a device as a tier of file chunks needs
 * @limited: the client may have so many slots, 0: all
 */
struct device {
	struct vgpu_uapi node;		/* first: a request leads back here */
	struct vgpu_resid r;
	struct vgpu_store store;
	struct vgpu_file file;
	struct vgpu_object object, *bucket;
	struct vb_table_entry entry[CHUNKS];
	bool taken[SLOTS];
	uint32_t used, limited;
	int fd;
};

static int begin(struct device *d, struct vb_move *m)
{
	if (d->limited && d->used == d->limited)
		return -EDQUOT;
	for (m->slot = 0; d->taken[m->slot]; m->slot++)
		;
	d->taken[m->slot] = true;
	d->used++;
	return 0;
}

static int drop(struct device *d, uint32_t chunk)
{
	struct vb_table_entry *e = &d->entry[chunk];

	if (e->pins)
		return -EBUSY;
	d->taken[VB_LOC_SLOT(e->loc[VB_TIER_HOST])] = false;
	d->used--;
	e->valid = 0;
	return 0;
}

static int call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct device *d = (struct device *)u;
	struct vb_ioc_move *req = arg;
	struct vb_move *m;

	if (request != VB_IOC_MOVE)
		return 0;
	m = (void *)(uintptr_t)req->address;
	m->out_status = 0;
	if (m->op == VB_MOVE_BEGIN) {
		m->out_status = begin(d, m);
	} else if (m->op == VB_MOVE_DROP) {
		m->out_status = drop(d, m->chunk);
	} else if (m->op == VB_MOVE_COMMIT) {
		d->entry[m->chunk].valid = 1u << VB_TIER_HOST;
		d->entry[m->chunk].loc[VB_TIER_HOST] = VB_LOC(0, m->slot);
	}
	return 0;
}

/* One that clients map: its clients fault.  The tier's memory is ours all the same. */
static int map(struct vgpu_uapi *u, uint64_t offset, uint64_t bytes, bool write, void **out)
{
	(void)u;
	(void)offset;
	(void)bytes;
	(void)write;
	(void)out;
	return -ENODEV;
}

static const struct vgpu_uapi_ops in_process = { .call = call };
static const struct vgpu_uapi_ops with_faults = { .call = call, .map = map };

static void open_file(struct device *d)
{
	uint8_t *content = xalloc(CHUNKS * CHUNK);

	d->fd = xfile(content, CHUNKS * CHUNK, 0);
	free(content);
	assert_int_equal(vgpu_io_file_add(d->r.io, d->fd, 0, &d->file.index), 0);
	d->file.align = 4096;
	d->file.lent = true;
}

/* On a busy machine the file may be slow, as any may: as the executor does, come back later. */
static void must_come(struct device *d, uint32_t slot)
{
	int rc;

	while ((rc = vgpu_resid_wait(&d->r, slot)) == -EAGAIN)
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
	assert_int_equal(rc, 0);
}

/* The policy has all that it may keep, and others hold that for good. */
static void fill_capacity(struct device *d)
{
	uint32_t slot;

	for (uint32_t c = 0; c < CAPACITY; c++) {
		assert_int_equal(vgpu_resid_use(&d->r, &d->object, c, 0, &slot), 0);
		must_come(d, slot);
		d->entry[c].pins = 1;
		assert_int_equal(d->r.policy->hold(d->r.policy_state, vgpu_policy_key(1, c), true),
				 0);
		vgpu_resid_unpin(&d->r, slot);
	}
}

static struct device *device_open(void)
{
	static const struct vgpu_resid_params p = { .chunk_bytes = CHUNK, .policy = "freq",
						    .capacity = CAPACITY, .staging = STAGING };
	struct device *d = xalloc(sizeof(*d));

	/* The tier is made as in process, where its memory is our own. */
	d->node.ops = &in_process;
	d->r.node = &d->node;
	d->r.store = &d->store;
	assert_int_equal(vgpu_io_open(&(struct vgpu_io_params){ .engine = "threads" }, &d->r.io), 0);
	assert_int_equal(vgpu_resid_init(&d->r, &p), 0);
	d->node.ops = &with_faults;
	open_file(d);
	d->object = (struct vgpu_object){
		.id = 1, .kind = VB_BO_FILE, .client = 1, .chunks = CHUNKS,
		.bytes = CHUNKS * CHUNK, .table = d->entry, .file = &d->file,
	};
	d->bucket = &d->object;
	d->store.bucket = &d->bucket;
	d->store.buckets = 1;
	fill_capacity(d);
	return d;
}

static void device_close(struct device *d)
{
	char text[256] = "";

	if (vgpu_resid_check(&d->r, true, text, sizeof(text)))
		fail_msg("%s", text);
	assert_int_equal(vgpu_io_close(d->r.io), 0);
	vgpu_resid_destroy(&d->r, 0);
	close(d->fd);
	free(d);
}

static struct vgpu_page_in fault_of(uint32_t client, uint32_t chunk)
{
	return (struct vgpu_page_in){
		.req = { .out_object = 1, .out_chunk = chunk, .out_count = 1, .out_client = client },
		.late.slot = VB_SLOT_ANY,
	};
}

/* As the executor's loop does.  Return: 0, the client is woken; -EAGAIN, it waits. */
static int serve(struct device *d, struct vgpu_page_in *p)
{
	int rc;

	/* What was slow to come is taken in. */
	assert_true(vgpu_resid_pump(&d->r, 0) >= 0);
	rc = vgpu_page_in_try(&d->r, &d->store, p);
	if (rc != -EAGAIN)
		vgpu_page_in_release(&d->r, p);
	return rc;
}

static void must_serve(struct device *d, uint32_t client, uint32_t chunk)
{
	struct vgpu_page_in p = fault_of(client, chunk);
	uint64_t end = xrig_now() + 20000000000u;
	int rc;

	while ((rc = serve(d, &p)) == -EAGAIN && xrig_now() < end)
		usleep(100);
	assert_int_equal(rc, 0);
	assert_true(d->entry[chunk].valid);
}

/* All that may pass through is on leave, each chunk for another client. */
static void fill_with_leaves(struct device *d)
{
	for (uint32_t i = 0; i < STAGING; i++)
		must_serve(d, 10 + i, CAPACITY + i);
	assert_int_equal(d->r.free, 0);
}

/**
 * struct visitor - a client that touches one chunk after the other
 * @at: how far it came
 * @asks: it waits in a fault; else it was woken, and has not looked yet
 */
struct visitor {
	uint32_t client, at;
	bool asks;
	struct vgpu_page_in fault;
};

static uint32_t chunk_of(const struct visitor *v)
{
	return CAPACITY + (v->client * 5 + v->at) % (CHUNKS - CAPACITY);
}

static bool is_done(const struct visitor *v)
{
	return v->at == CHUNKS - CAPACITY;
}

/* It looks: what is not there it faults for, anew each time. */
static void look(struct device *d, struct visitor *v)
{
	while (!is_done(v) && d->entry[chunk_of(v)].valid)
		v->at++;
	if (is_done(v))
		return;
	v->fault = fault_of(v->client, chunk_of(v));
	v->asks = true;
}

/* How many are done after a round in which each had one turn, and then those that wait. */
static uint32_t go_round(struct device *d, struct visitor *v)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < CLIENTS; i++) {
		if (!v[i].asks)
			look(d, &v[i]);
	}
	for (uint32_t i = 0; i < CLIENTS; i++) {
		if (v[i].asks) {
			int rc = serve(d, &v[i].fault);

			assert_true(!rc || rc == -EAGAIN);
			v[i].asks = rc == -EAGAIN;
		}
		done += is_done(&v[i]);
	}
	return done;
}

static void leave_lets_every_client_come_back_to_its_chunk(void **state)
{
	struct device *d = device_open();
	struct visitor v[CLIENTS] = { { .at = 0 } };
	uint32_t rounds = 0;

	(void)state;
	for (uint32_t i = 0; i < CLIENTS; i++)
		v[i].client = 10 + i;
	while (go_round(d, v) < CLIENTS) {
		if (++rounds == ROUNDS)
			fail_msg("after %u rounds clients fault still", rounds);
		usleep(ROUND_US);
	}
	device_close(d);
}

/* Return: false when it was kept from running so long that leaves were over by themselves. */
static bool ask_for_something_else(struct device *d)
{
	struct vgpu_page_in p = fault_of(1, CAPACITY + STAGING);
	uint64_t start = xrig_now();
	int first, second;

	fill_with_leaves(d);
	first = serve(d, &p);
	/* The second one is back, and goes on to a chunk that is there. */
	must_serve(d, 11, CAPACITY);
	usleep(VGPU_LEAVE_LEAST_NS / 1000);
	second = first ? serve(d, &p) : 0;
	if (xrig_now() - start >= VGPU_LEAVE_MOST_NS) {
		/* Whoever waits holds the chunk that comes. */
		while (second == -EAGAIN)
			second = serve(d, &p);
		return false;
	}
	assert_int_equal(first, -EAGAIN);
	assert_int_equal(second, 0);
	assert_true(d->entry[CAPACITY].valid);
	assert_false(d->entry[CAPACITY + 1].valid);
	return true;
}

static void leave_is_over_when_its_client_asks_for_something_else(void **state)
{
	bool done = false;

	(void)state;
	while (!done) {
		struct device *d = device_open();

		done = ask_for_something_else(d);
		vgpu_resid_evict(&d->r, &d->object, CAPACITY, CHUNKS);
		device_close(d);
	}
}

/* Its client was killed. */
static void leave_is_over_when_its_client_never_comes(void **state)
{
	struct device *d = device_open();

	(void)state;
	fill_with_leaves(d);
	usleep(VGPU_LEAVE_MOST_NS / 1000);
	must_serve(d, 1, CAPACITY + STAGING);
	assert_false(d->entry[CAPACITY].valid);
	device_close(d);
}

static void leave_gives_way_to_a_command(void **state)
{
	struct device *d = device_open();
	uint32_t slot[STAGING];

	(void)state;
	fill_with_leaves(d);
	for (uint32_t i = 0; i < STAGING; i++) {
		assert_int_equal(vgpu_resid_use(&d->r, &d->object, CAPACITY + STAGING + i, 0,
						&slot[i]), 0);
		must_come(d, slot[i]);
	}
	for (uint32_t i = 0; i < STAGING; i++)
		vgpu_resid_unpin(&d->r, slot[i]);
	assert_int_equal(d->r.free, STAGING);
	device_close(d);
}

/* Its other threads wait too, and nothing else of it goes for them. */
static void leave_is_kept_at_the_limit_of_a_client(void **state)
{
	struct device *d = device_open();
	struct vgpu_page_in p = fault_of(10, CAPACITY + 1);
	uint64_t start = xrig_now();
	int rc;

	(void)state;
	d->limited = CAPACITY + 1;
	must_serve(d, 10, CAPACITY);
	while ((rc = serve(d, &p)) == -EAGAIN) {
		/* Once it is over the other chunk may still be on its way. */
		assert_true(d->entry[CAPACITY].valid || xrig_now() - start >= VGPU_LEAVE_LEAST_NS);
		usleep(100);
	}
	assert_int_equal(rc, 0);
	assert_true(xrig_now() - start >= VGPU_LEAVE_LEAST_NS);
	assert_false(d->entry[CAPACITY].valid);
	device_close(d);
}

static void leave_ends_with_what_evict_names(void **state)
{
	struct device *d = device_open();

	(void)state;
	fill_with_leaves(d);
	vgpu_resid_evict(&d->r, &d->object, CAPACITY, CHUNKS);
	assert_int_equal(d->r.free, STAGING);
	device_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leave_lets_every_client_come_back_to_its_chunk),
		cmocka_unit_test(leave_is_over_when_its_client_asks_for_something_else),
		cmocka_unit_test(leave_is_over_when_its_client_never_comes),
		cmocka_unit_test(leave_gives_way_to_a_command),
		cmocka_unit_test(leave_is_kept_at_the_limit_of_a_client),
		cmocka_unit_test(leave_ends_with_what_evict_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
