// SPDX-License-Identifier: MIT
/*
 * Memory that goes back to the device, region by region: what is missed least leaves, the
 * rest is where it was or has moved with its bytes.  The device is the least of one that
 * has memory of its own, as the module has.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/region.h"

#define CHUNK		4096u
#define SLOTS		64u
#define STAGING		8u
#define REGION		16u		/* slots of each: the least there may be */
#define CHUNKS		200u		/* of the object */
#define TRIES		10u		/* until the machine is fast enough to tell */

/**
 * struct device - one object, one arena
 * @taken: slots that hold a chunk
 * @present: slots in regions
 * @memory: a file, of all slots
 * @refuses: to let a region go, or one come
 */
struct device {
	struct vgpu_uapi node;		/* first: a request leads back here */
	struct vgpu_resid r;
	struct vgpu_store store;
	struct vgpu_file file;
	struct vgpu_object object;
	struct vb_table_entry entry[CHUNKS];
	uint8_t taken[SLOTS], present[SLOTS];
	int memory, fd;
	bool refuses;
};

static int slot_take(struct device *d, struct vb_move *m)
{
	if (m->slot == VB_SLOT_ANY)
		for (uint32_t i = 0; i < SLOTS; i++)
			if (d->present[i] && !d->taken[i])
				m->slot = i;
	if (m->slot == VB_SLOT_ANY)
		return -ENOSPC;
	if (!d->present[m->slot] || d->taken[m->slot])
		return -EEXIST;
	d->taken[m->slot] = 1;
	return 0;
}

static int move(struct device *d, struct vb_move *m)
{
	struct vb_table_entry *e = &d->entry[m->chunk];

	switch (m->op) {
	case VB_MOVE_BEGIN:
		return slot_take(d, m);
	case VB_MOVE_COMMIT:
		if (m->from == VB_TIER_HOST)
			d->taken[VB_LOC_SLOT(e->loc[VB_TIER_HOST])] = 0;
		e->valid = 1u << VB_TIER_HOST;
		e->flags = VB_ENTRY_TOUCHED;
		e->loc[VB_TIER_HOST] = VB_LOC(0, m->slot);
		return 0;
	case VB_MOVE_DROP:
		e->valid = 0;
		e->flags = 0;
		d->taken[VB_LOC_SLOT(e->loc[VB_TIER_HOST])] = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

static int region_add(struct device *d, struct vb_ioc_region *cmd)
{
	if (d->refuses)
		return -ENOMEM;
	memset(d->present + cmd->first_slot, 1, cmd->slots);
	cmd->out_mmap_offset = (uint64_t)cmd->first_slot * CHUNK;
	return 0;
}

static int region_remove(struct device *d, const struct vb_ioc_region *cmd)
{
	if (d->refuses)
		return -EBUSY;
	for (uint32_t i = cmd->first_slot; i < cmd->first_slot + cmd->slots; i++)
		if (d->taken[i] || !d->present[i])
			return -EBUSY;
	memset(d->present + cmd->first_slot, 0, cmd->slots);
	return 0;
}

static int call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct device *d = (struct device *)u;
	struct vb_ioc_move *req = arg;
	struct vb_move *m;

	switch (request) {
	case VB_IOC_MOVE:
		m = (void *)(uintptr_t)req->address;
		m->out_status = move(d, m);
		return 0;
	case VB_IOC_REGION_ADD:
		return region_add(d, arg);
	case VB_IOC_REGION_REMOVE:
		return region_remove(d, arg);
	default:
		return 0;
	}
}

static int map(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out)
{
	(void)u;
	(void)offset;
	(void)bytes;
	(void)write;
	(void)out;
	return -EOPNOTSUPP;
}

static int memory_fd(struct vgpu_uapi *u)
{
	return ((struct device *)u)->memory;
}

static const struct vgpu_uapi_ops ops = { .call = call, .map = map, .fd = memory_fd };

static void fill_file(struct device *d)
{
	uint32_t words[CHUNK / 4];

	for (uint32_t c = 0; c < CHUNKS; c++) {
		for (uint32_t i = 0; i < CHUNK / 4; i++)
			words[i] = c * 7919 + i;
		assert_int_equal(pwrite(d->fd, words, CHUNK, (off_t)c * CHUNK), CHUNK);
	}
}

static struct device *device_open_on(const char *engine, const char *policy, uint32_t slots)
{
	const struct vgpu_resid_params p = { .chunk_bytes = CHUNK, .policy = policy,
					     .capacity = slots - STAGING, .staging = STAGING };
	struct device *d = xalloc(sizeof(*d));

	d->node.ops = &ops;
	d->r.node = &d->node;
	d->r.store = &d->store;
	d->memory = memfd_create("memory", MFD_CLOEXEC);
	assert_true(d->memory >= 0);
	assert_int_equal(ftruncate(d->memory, SLOTS * CHUNK), 0);
	assert_int_equal(vgpu_io_open(&(struct vgpu_io_params){ .engine = engine, .inner = "threads" },
				      &d->r.io), 0);
	assert_int_equal(vgpu_resid_init(&d->r, &p), 0);
	d->fd = xfile("", 0, 0);
	fill_file(d);
	assert_int_equal(vgpu_io_file_add(d->r.io, d->fd, 0, &d->file.index), 0);
	d->file.align = 4096;
	d->file.lent = true;
	d->object = (struct vgpu_object){
		.id = 1, .kind = VB_BO_FILE, .client = 1, .chunks = CHUNKS,
		.bytes = CHUNKS * CHUNK, .table = d->entry, .file = &d->file,
	};
	return d;
}

static struct device *device_open(const char *policy, uint32_t slots)
{
	return device_open_on("threads", policy, slots);
}

static void device_close(struct device *d)
{
	assert_int_equal(vgpu_io_close(d->r.io), 0);
	vgpu_resid_destroy(&d->r, 0);
	close(d->fd);
	close(d->memory);
	free(d);
}

/* -EAGAIN: a file that is slow is come back to, and so is one on a machine that is. */
static int try_pin(struct device *d, uint32_t chunk, uint32_t *slot)
{
	int rc = vgpu_resid_use(&d->r, &d->object, chunk, 0, slot);

	if (rc)
		return rc;
	rc = vgpu_resid_wait(&d->r, *slot);
	if (rc)
		vgpu_resid_unpin(&d->r, *slot);
	return rc;
}

/* The chunk's bytes, while it is pinned. */
static uint32_t pin(struct device *d, uint32_t chunk)
{
	const uint32_t *words;
	uint32_t slot;
	int rc;

	/* What arrives meanwhile is seen by nobody else, unlike in the executor. */
	while ((rc = try_pin(d, chunk, &slot)) == -EAGAIN)
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
	assert_int_equal(rc, 0);
	words = vgpu_resid_ptr(&d->r, slot);
	for (uint32_t i = 0; i < CHUNK / 4; i++)
		assert_int_equal(words[i], chunk * 7919 + i);
	return slot;
}

static void use(struct device *d, uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++)
		vgpu_resid_unpin(&d->r, pin(d, c));
}

static bool is_here(const struct device *d, uint32_t chunk)
{
	return d->entry[chunk].valid & 1u << VB_TIER_HOST;
}

static uint32_t slots_present(const struct device *d)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		n += d->present[i];
	return n;
}

static void assert_books(struct device *d)
{
	char text[256] = "";

	if (vgpu_resid_check(&d->r, true, text, sizeof(text)))
		fail_msg("%s", text);
}

static void what_is_missed_least_leaves_with_the_memory(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	uint32_t keeps = SLOTS - STAGING - REGION;

	(void)state;
	use(d, 0, SLOTS - STAGING);
	use(d, 0, keeps);	/* those behind are used least recently */
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	assert_int_equal(slots_present(d), SLOTS - REGION);
	assert_int_equal(d->r.slots, SLOTS - REGION);
	for (uint32_t c = 0; c < SLOTS - STAGING; c++)
		assert_int_equal(is_here(d, c), c < keeps);
	assert_books(d);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
}

static void enough_stays_for_transfers_and_content(void **state)
{
	struct device *d = device_open("replay", SLOTS);

	(void)state;
	for (uint32_t left = SLOTS - REGION; left >= 2 * STAGING; left -= REGION) {
		use(d, 0, CHUNKS);
		assert_int_equal(vgpu_resid_drain(&d->r), 0);
		assert_int_equal(slots_present(d), left);
		assert_books(d);
	}
	assert_int_equal(slots_present(d), 2 * STAGING);
	assert_int_equal(vgpu_resid_drain(&d->r), -EBUSY);
	assert_int_equal(slots_present(d), 2 * STAGING);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
}

static void a_tier_of_one_region_stays(void **state)
{
	struct device *d = device_open("lru", 2 * REGION - 1);

	(void)state;
	use(d, 0, CHUNKS);
	assert_int_equal(vgpu_resid_drain(&d->r), -EBUSY);
	assert_int_equal(slots_present(d), 2 * REGION - 1);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
}

/*
 * Of @slow reads each takes @step_ns more than the one behind it, which is looked at before;
 * the others never come.  Return: those under way when it was given up to wait for them.
 */
static uint32_t drain_beside_slow_reads(uint32_t slow, uint64_t step_ns)
{
	struct device *d = device_open_on("test", "lru", SLOTS);
	uint32_t moving;

	for (uint32_t i = 0; i < STAGING - 1; i++) {
		const struct vgpu_io_fault f = {
			.kind = STAGING - 1 - i <= slow ? VGPU_IO_FAULT_DELAY : VGPU_IO_FAULT_NEVER,
			.first = (uint64_t)i * CHUNK, .last = (uint64_t)(i + 1) * CHUNK - 1,
			.delay_ns = (STAGING - 1 - i) * step_ns,
		};

		assert_int_equal(vgpu_io_test_add(d->r.io, &f), 0);
		assert_true(vgpu_resid_hint(&d->r, &d->object, i));
	}
	assert_int_equal(vgpu_resid_drain(&d->r), -EBUSY);
	moving = d->r.moving;
	assert_int_equal(slots_present(d), SLOTS);
	vgpu_io_test_clear(d->r.io);
	vgpu_io_test_release(d->r.io);
	while (d->r.moving)
		assert_true(vgpu_resid_pump(&d->r, VGPU_PUMP_WAIT_NS) >= 0);
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
	return moving;
}

static void memory_under_a_silent_read_stays_for_now(void **state)
{
	(void)state;
	assert_int_equal(drain_beside_slow_reads(0, 0), STAGING - 1);
}

/*
 * Others have waited meanwhile: not until the last of them came.  A machine that stood still
 * for as long as all of them take says nothing.
 */
static void memory_under_reads_that_trickle_stays_for_now(void **state)
{
	const uint64_t step_ns = VGPU_SLOW_NS * 6 / 10;
	uint32_t tries = TRIES;

	(void)state;
	while (drain_beside_slow_reads(STAGING - 2, step_ns) == 1)
		assert_true(--tries);
}

/* The device takes slots from the end: what is pinned first is in the last region. */
static void what_is_in_use_keeps_its_region(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	uint32_t slot;

	(void)state;
	slot = pin(d, 3);
	assert_true(slot >= SLOTS - REGION);
	use(d, 4, 60);
	assert_int_equal(vgpu_resid_drain(&d->r), -EBUSY);
	assert_int_equal(slots_present(d), SLOTS);
	assert_int_equal(((uint32_t *)vgpu_resid_ptr(&d->r, slot))[5], 3 * 7919 + 5);
	vgpu_resid_unpin(&d->r, slot);
	use(d, 0, CHUNKS);
	assert_books(d);
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
}

static void a_device_that_says_no_keeps_all(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	struct vgpu_policy_stats stats;

	(void)state;
	use(d, 0, SLOTS - STAGING);
	d->refuses = true;
	assert_int_equal(vgpu_resid_drain(&d->r), -EBUSY);
	assert_int_equal(slots_present(d), SLOTS);
	use(d, 0, SLOTS - STAGING);
	use(d, 0, SLOTS - STAGING);
	d->r.policy->stats(d->r.policy_state, &stats);
	assert_int_equal(stats.retained, SLOTS - STAGING);
	assert_books(d);
	device_close(d);
}

/* What was read ahead and not used yet moves too, and is there when it is used. */
static void what_was_read_ahead_is_not_lost(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	uint32_t wanted = 0;

	(void)state;
	use(d, 0, SLOTS - STAGING);
	while (wanted < STAGING && !vgpu_resid_want(&d->r, &d->object, 100 + wanted))
		wanted++;
	assert_true(wanted > 0);
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	use(d, 100, 100 + wanted);
	vgpu_resid_unwant_all(&d->r);
	assert_books(d);
	device_close(d);
}

static void memory_comes_back_and_is_used(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	const uint8_t *memory = d->r.memory;

	(void)state;
	assert_int_equal(vgpu_resid_grow(&d->r), -ENOSPC);
	for (int round = 0; round < 3; round++) {
		use(d, 0, CHUNKS);
		assert_int_equal(vgpu_resid_drain(&d->r), 0);
		assert_int_equal(vgpu_resid_drain(&d->r), 0);
		use(d, 0, CHUNKS);
		assert_int_equal(vgpu_resid_grow(&d->r), 0);
		assert_int_equal(slots_present(d), SLOTS - REGION);
		assert_books(d);
		use(d, 0, CHUNKS);
		assert_int_equal(vgpu_resid_grow(&d->r), 0);
		assert_int_equal(slots_present(d), SLOTS);
		assert_books(d);
		/* All of it is the policy's again. */
		use(d, 0, SLOTS - STAGING);
		use(d, 0, SLOTS - STAGING);
		for (uint32_t c = 0; c < SLOTS - STAGING; c++)
			assert_true(is_here(d, c));
		assert_int_equal(vgpu_resid_grow(&d->r), -ENOSPC);
	}
	assert_ptr_equal(d->r.memory, memory);
	device_close(d);
}

static void memory_that_does_not_come_leaves_all_as_it_was(void **state)
{
	struct device *d = device_open("replay", SLOTS);

	(void)state;
	use(d, 0, CHUNKS);
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	d->refuses = true;
	assert_int_equal(vgpu_resid_grow(&d->r), -ENOMEM);
	assert_int_equal(d->r.slots, SLOTS - REGION);
	use(d, 0, CHUNKS);
	assert_books(d);
	d->refuses = false;
	assert_int_equal(vgpu_resid_grow(&d->r), 0);
	use(d, 0, CHUNKS);
	assert_books(d);
	device_close(d);
}

/* Nobody else is given the addresses in between. */
static void addresses_stay_while_the_memory_is_away(void **state)
{
	struct device *d = device_open("lru", SLOTS);
	uint8_t *end = d->r.memory + d->r.memory_bytes;

	(void)state;
	assert_int_equal(vgpu_resid_drain(&d->r), 0);
	for (uint8_t *p = end - REGION * CHUNK; p < end; p += CHUNK)
		assert_ptr_equal(mmap(p, CHUNK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
				      MAP_FIXED_NOREPLACE, -1, 0), MAP_FAILED);
	device_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_missed_least_leaves_with_the_memory),
		cmocka_unit_test(enough_stays_for_transfers_and_content),
		cmocka_unit_test(a_tier_of_one_region_stays),
		cmocka_unit_test(what_is_in_use_keeps_its_region),
		cmocka_unit_test(memory_under_a_silent_read_stays_for_now),
		cmocka_unit_test(memory_under_reads_that_trickle_stays_for_now),
		cmocka_unit_test(a_device_that_says_no_keeps_all),
		cmocka_unit_test(what_was_read_ahead_is_not_lost),
		cmocka_unit_test(memory_comes_back_and_is_used),
		cmocka_unit_test(memory_that_does_not_come_leaves_all_as_it_was),
		cmocka_unit_test(addresses_stay_while_the_memory_is_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
