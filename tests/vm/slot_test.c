// SPDX-License-Identifier: MIT
/*
 * Slots whose memory others refer to: one or many, of one user or of two, in one piece or in
 * hundreds.  The executor is the test itself.
 */
#include "selftests/client.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/inject.h"
#include "vm/machine.h"

#define SLOTS		24u
#define LENT		20u	/* more than one look is at */
#define LOOKS		8u
#define STRANGER	1000u
#define Z		VB_TIER_ZERO
#define H		VB_TIER_HOST
#define N		VB_TIER_NVME

static struct rig_exec x;

/* ---- objects ---- */

/* The id that executors know: the last there is. */
static uint32_t last_object(void)
{
	struct vb_ioc_object_next cmd = { .size = sizeof(cmd), .object = 1 };
	uint32_t id = 0;

	while (!vgpu_uapi_call(x.node, VB_IOC_OBJECT_NEXT, &cmd)) {
		id = cmd.out_object;
		cmd.object = id + 1;
	}
	return id;
}

/* A slot for a chunk of it; 0 or -errno. */
static int begin(uint32_t object, uint32_t chunk, uint32_t *slot)
{
	struct vb_move mv = {
		.object = object, .chunk = chunk, .op = VB_MOVE_BEGIN, .from = Z, .to = H,
		.arena = x.host, .slot = *slot,
	};
	int rc = rig_move(&x, &mv);

	*slot = mv.slot;
	return rc;
}

static void commit(uint32_t object, uint32_t chunk)
{
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_COMMIT, Z, H), 0);
}

/* An object of so many chunks, all in host memory, in @slots, and mapped at @out. */
static uint32_t new_object(struct vgpu_uapi *of, uint32_t n, uint32_t *slots, uint8_t **out,
			   uint32_t *bo)
{
	uint32_t object;

	assert_rc(rig_bo(of, chunks(n), VB_LIFE_VOLATILE, bo), 0);
	object = last_object();
	for (uint32_t i = 0; i < n; i++) {
		slots[i] = VB_SLOT_ANY;
		assert_rc(begin(object, i, &slots[i]), 0);
		commit(object, i);
	}
	*out = machine_map(of, *bo, chunks(n), true);
	return object;
}

/* Its slots are given back when its executor has heard of it. */
static void destroy(struct vgpu_uapi *of, uint32_t bo)
{
	assert_rc(rig_bo_destroy(of, bo), 0);
	while (rig_serve_one(&x))
		;
}

/* Pipes have a page of each chunk of an object that is gone. */
static uint32_t lend(struct vgpu_uapi *of, uint32_t n, int fds[][2], uint32_t *slots)
{
	uint32_t bo, object;
	uint8_t *p;

	object = new_object(of, n, slots, &p, &bo);
	for (uint32_t i = 0; i < n; i++)
		machine_pipe_lend(fds[i], p + chunks(i));
	munmap(p, chunks(n));
	destroy(of, bo);
	return object;
}

static void take_back(int fds[2])
{
	uint8_t page[MACHINE_PAGE];

	machine_pipe_take(fds, page);
}

/* What a user is charged for, in slots of host memory. */
static uint64_t charged(uint32_t uid)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = VB_LIMIT_HOST_MAX, .flags = VB_LIMIT_USER, .uid = uid,
	};

	assert_rc(vgpu_uapi_call(u, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used / rig.chunk_bytes;
}

static int setup(void **state)
{
	int rc = client_setup(state);

	return rc ? rc : rig_exec_open(&rig, &x, SLOTS);
}

static int teardown(void **state)
{
	rig_exec_close(&x);
	return selftest_teardown(state);
}

/* ---- quarantine ---- */

/* However many there are: the lock is held for a few, and all have their turn. */
static void who_takes_a_slot_looks_at_a_few_in_quarantine(void **state)
{
	uint32_t slots[LENT], slot = VB_SLOT_ANY, bo, object;
	int fds[LENT][2];

	(void)state;
	lend(u, LENT, fds, slots);
	assert_int_equal(charged(0), LENT);
	for (uint32_t i = 0; i < LENT; i++)
		take_back(fds[i]);
	assert_int_equal(charged(0), LENT);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	object = last_object();
	for (uint32_t rest = LENT; rest; rest -= rest < LOOKS ? rest : LOOKS) {
		assert_int_equal(charged(0), rest);
		slot = VB_SLOT_ANY;
		assert_rc(begin(object, 0, &slot), 0);
		assert_rc(rig_step(&x, object, 0, VB_MOVE_ABORT, Z, H), 0);
	}
	assert_int_equal(charged(0), 0);
}

static uint32_t object_in(uint32_t slot)
{
	struct vb_ioc_slot_query cmd = { .size = sizeof(cmd), .arena = x.host, .slot = slot };

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_SLOT_QUERY, &cmd), 0);
	return cmd.out_object;
}

/* Behind all the others in quarantine, and free. */
static void who_asks_for_one_slot_hears_of_that(void **state)
{
	uint32_t slots[LENT], slot, bo, object, gone;
	int fds[LENT][2];

	(void)state;
	gone = lend(u, LENT, fds, slots);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	object = last_object();
	slot = slots[LENT - 1];
	assert_rc(begin(object, 0, &slot), -EEXIST);
	assert_int_equal(object_in(slots[LENT - 1]), gone);
	take_back(fds[LENT - 1]);
	slot = slots[LENT - 1];
	assert_rc(begin(object, 0, &slot), 0);
	assert_int_equal(object_in(slots[LENT - 1]), object);
	commit(object, 0);
	for (uint32_t i = 0; i < LENT - 1; i++)
		take_back(fds[i]);
}

/* A client of another user, in this process. */
static struct vgpu_uapi *stranger(void)
{
	struct vgpu_uapi *of = NULL;

	assert_rc(chmod(getenv("VBLACKWELL_SELFTEST_NODE"), 0666), 0);
	assert_rc(seteuid(STRANGER), 0);
	of = rig_client(&rig);
	assert_rc(seteuid(0), 0);
	assert_non_null(of);
	return of;
}

static int limit_stranger(uint64_t bytes)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = VB_LIMIT_HOST_MAX, .uid = STRANGER, .value = bytes,
		.flags = VB_LIMIT_SET | VB_LIMIT_USER,
	};

	return vgpu_uapi_call(u, VB_IOC_LIMIT, &cmd);
}

/* Others have more in quarantine than one look is at. */
static void who_is_at_its_limit_finds_its_own_slots(void **state)
{
	struct vgpu_uapi *other = stranger();
	uint32_t slots[LENT], own, slot = VB_SLOT_ANY, bo;
	int fds[LENT][2], lent[1][2];

	(void)state;
	lend(u, LENT, fds, slots);
	assert_rc(limit_stranger(chunks(1)), 0);
	lend(other, 1, lent, &own);
	assert_rc(rig_bo(other, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(charged(STRANGER), 1);
	assert_rc(begin(last_object(), 0, &slot), -EDQUOT);
	take_back(lent[0]);
	slot = VB_SLOT_ANY;
	assert_rc(begin(last_object(), 0, &slot), 0);
	commit(last_object(), 0);
	assert_int_equal(charged(STRANGER), 1);
	assert_int_equal(charged(0), LENT);
	for (uint32_t i = 0; i < LENT; i++)
		take_back(fds[i]);
	assert_rc(limit_stranger(UINT64_MAX), 0);
	rig_client_close(other);
}

/* One more than a look is at, and further on in each: whoever would be refused looks on. */
static void who_would_be_refused_looks_at_all_in_quarantine(void **state)
{
	uint32_t slots[LENT], others[SLOTS - LENT], slot = VB_SLOT_ANY, bo;
	int fds[LENT][2];
	uint8_t *p;

	(void)state;
	lend(u, LENT, fds, slots);
	new_object(u, SLOTS - LENT, others, &p, &bo);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(begin(last_object(), 0, &slot), -ENOSPC);
	take_back(fds[LENT - 1]);
	slot = VB_SLOT_ANY;
	assert_rc(begin(last_object(), 0, &slot), 0);
	assert_int_equal(slot, slots[LENT - 1]);
	commit(last_object(), 0);
	for (uint32_t i = 0; i < LENT - 1; i++)
		take_back(fds[i]);
	munmap(p, chunks(SLOTS - LENT));
}

static void who_is_at_its_limit_looks_at_all_of_its_own(void **state)
{
	struct vgpu_uapi *other = stranger();
	uint32_t slots[LENT], slot = VB_SLOT_ANY, bo;
	int fds[LENT][2];

	(void)state;
	lend(other, LENT, fds, slots);
	assert_rc(limit_stranger(chunks(LENT)), 0);
	assert_rc(rig_bo(other, chunks(1), VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(begin(last_object(), 0, &slot), -EDQUOT);
	take_back(fds[LENT - 1]);
	slot = VB_SLOT_ANY;
	assert_rc(begin(last_object(), 0, &slot), 0);
	commit(last_object(), 0);
	for (uint32_t i = 0; i < LENT - 1; i++)
		take_back(fds[i]);
	assert_rc(limit_stranger(UINT64_MAX), 0);
	rig_client_close(other);
}

/* ---- what others have ---- */

/* What is mapped, by clients and by the executor, is told from what others have. */
static void lent_page_is_found(void)
{
	uint32_t slots[2], bo, object;
	uint8_t *p;
	int fds[2];

	object = new_object(u, 2, slots, &p, &bo);
	for (uint64_t at = 0; at < chunks(1); at += MACHINE_PAGE)
		p[at] = (uint8_t)(at / MACHINE_PAGE);
	machine_pipe_lend(fds, p + chunks(1) - MACHINE_PAGE);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, H, N), -EBUSY);
	take_back(fds);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, H, N), 0);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_ABORT, H, N), 0);
	for (uint64_t at = 0; at < chunks(1); at += MACHINE_PAGE)
		assert_int_equal(p[at], (uint8_t)(at / MACHINE_PAGE));
	machine_pipe_lend(fds, p + chunks(1) - MACHINE_PAGE);
	munmap(p, chunks(2));
	destroy(u, bo);
	assert_int_equal(charged(0), 1);
	take_back(fds);
	assert_int_equal(object_in(slots[0]), object);
	object = new_object(u, 1, slots, &p, &bo);
	assert_int_equal(charged(0), 1);
	munmap(p, chunks(1));
	destroy(u, bo);
	assert_int_equal(charged(0), 0);
}

/* What the executor registers is counted when a slot is taken, and is nobody's I/O. */
static void lent_page_is_found_in_registered_memory(void **state)
{
	int own[SLOTS][2];

	(void)state;
	for (uint32_t i = 0; i < SLOTS; i++)
		machine_pipe_lend(own[i], x.memory + chunks(i));
	lent_page_is_found();
	for (uint32_t i = 0; i < SLOTS; i++)
		take_back(own[i]);
}

static void lent_page_is_found_in_mapped_memory(void **state)
{
	(void)state;
	lent_page_is_found();
}

/* ---- memory in pieces ---- */

#define ORDERS		16u
#define RETURNS_NS	(10 * 1000000000ull)

/* How many slots of the host arena are in pieces of each order; false: nobody says. */
static bool count_orders(uint32_t orders[ORDERS])
{
	FILE *f = fopen("/sys/kernel/debug/vblackwell/arenas", "r");
	uint32_t arena = 0, n, order;
	char line[256], *at;
	int length;

	memset(orders, 0, ORDERS * sizeof(*orders));
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "arena %u:", &arena);
		at = arena == x.host && !strncmp(line, "  slots", 7) ? strchr(line, ':') : NULL;
		while (at && sscanf(++at, " %u of order %u%n", &n, &order, &length) == 2) {
			assert_in_range(order, 0, ORDERS - 1);
			orders[order] += n;
			at += length - 1;
		}
	}
	if (f)
		fclose(f);
	return f;
}

static uint32_t chunk_order(void)
{
	return (uint32_t)__builtin_ctz(rig.chunk_bytes / MACHINE_PAGE);
}

/* Every page in its place, seen from both sides. */
static void pages_are_in_their_places(void)
{
	uint32_t slot[1], bo;
	uint8_t *p, *own;

	new_object(u, 1, slot, &p, &bo);
	own = (uint8_t *)x.memory + chunks(slot[0]);
	for (uint64_t at = 0; at < chunks(1); at += MACHINE_PAGE) {
		assert_memory_equal(own + at, p + at, MACHINE_PAGE);
		*(uint64_t *)(p + at) = at + 1;
		*(uint64_t *)(own + at + 8) = ~at;
	}
	for (uint64_t at = 0; at < chunks(1); at += MACHINE_PAGE) {
		assert_int_equal(*(uint64_t *)(own + at), at + 1);
		assert_int_equal(*(uint64_t *)(p + at + 8), ~at);
	}
	assert_int_equal(machine_mapped(p).huge, 0);
	munmap(p, chunks(1));
	destroy(u, bo);
}

/* What a new owner gets is zero, whatever the memory was. */
static void memory_is_zero(void)
{
	static const uint8_t zero[MACHINE_PAGE];

	for (uint64_t at = 0; at < chunks(SLOTS); at += MACHINE_PAGE)
		assert_memory_equal(x.memory + at, zero, MACHINE_PAGE);
}

static uint64_t free_bytes(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "nr_free_pages %lu", &pages), 1);
	fclose(f);
	return (uint64_t)pages * MACHINE_PAGE;
}

/* A few pages are kept at hand by each CPU: of large chunks that is little. */
static void memory_returns(void)
{
	uint64_t before = free_bytes(), until = rig_now() + RETURNS_NS, wanted;

	wanted = before + chunks(SLOTS) * 3 / 4;
	rig_exec_close(&x);
	while (free_bytes() < wanted && rig_now() < until)
		usleep(1000);
	assert_true(rig.chunk_bytes != LARGE_CHUNK || free_bytes() >= wanted);
}

/* The same with no memory in pieces of 1 << @order pages or more, for so many of the slots. */
static void open_without(uint32_t order, int slots)
{
	assert_rc(inject_no_pages(order, slots), 0);
	assert_rc(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_rc(inject_pages(), 0);
}

static void setup_refusal(const char *test)
{
	rig_exec_close(&x);
	if (!inject_setup() && !inject_within("vb_slot_alloc"))
		return;
	fprintf(stderr, "SKIP: %s: this kernel refuses no pages (the debug kernel does)\n", test);
	skip();
}

static void in_pieces_of(uint32_t order, uint32_t refused)
{
	uint32_t orders[ORDERS];

	open_without(refused, -1);
	assert_true(count_orders(orders));
	assert_int_equal(orders[order], SLOTS);
	memory_is_zero();
	pages_are_in_their_places();
	lent_page_is_found();
	memory_returns();
}

/* The largest pieces that there are, down to single pages. */
static void memory_in_pieces_is_as_good(void **state)
{
	(void)state;
	setup_refusal(__func__);
	if (chunk_order() > 4)
		in_pieces_of(4, chunk_order());
	in_pieces_of(2, 4);
	in_pieces_of(0, 2);
}

/* Each slot of a region is in pieces of its own size. */
static void region_has_slots_in_pieces_and_whole(void **state)
{
	const uint32_t pieces = 5, order = chunk_order() > 4 ? 4 : 2;
	uint32_t orders[ORDERS], slots[SLOTS], bo;
	uint8_t *p;

	(void)state;
	setup_refusal(__func__);
	open_without(chunk_order(), (int)pieces);
	assert_true(count_orders(orders));
	assert_int_equal(orders[order], pieces);
	assert_int_equal(orders[chunk_order()], SLOTS - pieces);
	new_object(u, SLOTS, slots, &p, &bo);
	for (uint64_t at = 0; at < chunks(SLOTS); at += MACHINE_PAGE)
		*(uint64_t *)(p + at) = at + 1;
	for (uint32_t i = 0; i < SLOTS; i++)
		for (uint64_t at = 0; at < chunks(1); at += MACHINE_PAGE)
			assert_int_equal(*(uint64_t *)(x.memory + chunks(slots[i]) + at),
					 chunks(i) + at + 1);
	if (rig.chunk_bytes == LARGE_CHUNK)
		assert_int_equal(machine_mapped(p).huge, chunks(SLOTS - pieces));
	munmap(p, chunks(SLOTS));
	destroy(u, bo);
	lent_page_is_found();
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(who_takes_a_slot_looks_at_a_few_in_quarantine),
		CASE(who_asks_for_one_slot_hears_of_that),
		CASE(who_is_at_its_limit_finds_its_own_slots),
		CASE(who_would_be_refused_looks_at_all_in_quarantine),
		CASE(who_is_at_its_limit_looks_at_all_of_its_own),
		CASE(lent_page_is_found_in_registered_memory),
		CASE(lent_page_is_found_in_mapped_memory),
		CASE(memory_in_pieces_is_as_good),
		CASE(region_has_slots_in_pieces_and_whole),
	};

	if (!selftest_has_module("slots"))
		return 0;
	return SELFTEST_RUN("slots", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
