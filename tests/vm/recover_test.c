// SPDX-License-Identifier: MIT
/*
 * What a successor finds and adopts of what the dead executor had, what is undone before,
 * and what is lost: rules of the UAPI header's paragraph on it.
 */
#include "vm/recover_rig.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "exec/exec.h"

#define REAL_SLOTS	24u

/* ---- what stays ---- */

static void write_pattern(uint32_t bo, uint64_t bytes, uint8_t salt)
{
	uint8_t *p = malloc(bytes);

	for (uint64_t i = 0; i < bytes; i++)
		p[i] = rig_pattern(i) ^ salt;
	assert_rc(rig_write(u, bo, 0, p, bytes), 0);
	free(p);
}

static void check_pattern(uint32_t bo, uint64_t bytes, uint8_t salt)
{
	uint8_t *p = malloc(bytes);

	assert_rc(rig_read(u, bo, 0, p, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(p[i], rig_pattern(i) ^ salt);
	free(p);
}

static void resident_content_stays_and_is_used_meanwhile(void **state)
{
	uint32_t bo, id = listed_object(3, &bo);

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		copy(id, i, Z, H);
	write_pattern(bo, chunks(3), 0);
	die(&x);
	assert_int_equal(machine_exec_state(u), VB_EXEC_QUIESCED);
	check_pattern(bo, chunks(3), 0);
	write_pattern(bo, chunks(3), 0x5a);
	succeed(&x);
	assert_int_equal(machine_exec_state(u), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, 0), 0);
	assert_int_equal(machine_exec_state(u), VB_EXEC_LIVE);
	check_pattern(bo, chunks(3), 0x5a);
	assert_int_equal(object_after(id), id);
	/* Its counts are right: it can be taken away. */
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_int_equal(used_bytes(H), chunks(2));
}

static void nvme_content_stays_with_its_identity(void **state)
{
	uint32_t bo, id = listed_object(1, &bo), word = 0xfeedbeef, got = 0;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	die_and_succeed(&x);
	assert_int_equal(rig_residency(u, bo, 0), 1u << N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, N, H), 0);
	memcpy(x.memory + chunks(SLOTS - 1), &word, 4);	/* slots are taken from the top */
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, N, H), 0);
	assert_rc(rig_read(u, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
}

static int slot_query(uint32_t slot, uint32_t *out_object, uint32_t *out_chunk)
{
	struct vb_ioc_slot_query cmd = { .size = sizeof(cmd), .arena = x.host, .slot = slot };
	int rc = vgpu_uapi_call(x.node, VB_IOC_SLOT_QUERY, &cmd);

	*out_object = cmd.out_object;
	*out_chunk = cmd.out_chunk;
	return rc;
}

/* However large the object is: @chunk of @object is in one slot, nothing is in the others. */
static void expect_one_slot(uint32_t object, uint32_t chunk)
{
	unsigned int found = 0;
	uint32_t id, at;

	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_rc(slot_query(i, &id, &at), 0);
		assert_true(!id || (id == object && at == chunk));
		found += !!id;
	}
	assert_int_equal(found, 1);
	assert_rc(slot_query(SLOTS, &id, &at), -ENOENT);
}

#define LARGE	(1u << 24)	/* chunks, of which the table has 512 MiB, in 2^17 pages */

/* An object that is far larger than all memory: a sparse file. */
static uint32_t large_bo(void)
{
	int fd = rig_file(&rig, 0);
	uint32_t bo;

	assert_rc(ftruncate(fd, (off_t)chunks(LARGE)), 0);
	assert_rc(rig_bo_file(u, fd, 0, chunks(LARGE), &bo), 0);
	close(fd);
	return bo;
}

static uint32_t new_large_object(void)
{
	large_bo();
	return object_after(1);
}

static void slots_tell_a_successor_what_is_in_them(void **state)
{
	uint32_t id = new_large_object(), before, other, at;

	(void)state;
	copy(id, LARGE - 1, VB_TIER_SOURCE, H);
	expect_one_slot(id, LARGE - 1);
	die(&x);
	before = x.host;
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	x.host = before;
	assert_rc(slot_query(0, &other, &at), -ENOENT);
	assert_rc(adopt(&x, before, 0, NULL), 0);
	map_adopted(&x, before);
	assert_rc(rig_recover(&x, 0), 0);
	expect_one_slot(id, LARGE - 1);
}

/* Of the table of an object; and its bytes. */
static const struct vb_table_entry *map_table(uint32_t id, uint64_t *bytes)
{
	struct vb_ioc_object_open o = { .size = sizeof(o), .object = id };
	void *p;

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &o), 0);
	if (o.out_fd >= 0)
		close(o.out_fd);
	*bytes = (uint64_t)o.out_chunks * sizeof(struct vb_table_entry);
	assert_rc(x.node->ops->map(x.node, o.out_table_mmap, *bytes, false, &p), 0);
	return p;
}

static uint64_t free_bytes(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %llu", &kib) == 1)
			break;
	fclose(f);
	assert_true(kib);
	return (uint64_t)kib << 10;
}

static void to_look_at_a_table_costs_no_memory(void **state)
{
	uint32_t id = new_large_object();
	const struct vb_table_entry *e;
	uint64_t bytes, before;

	(void)state;
	e = map_table(id, &bytes);
	before = free_bytes();
	for (uint32_t i = 0; i < LARGE / 4; i += 64)
		assert_true(!e[i].valid && !e[i].busy);
	assert_true(free_bytes() + (32u << 20) > before);
	/* What comes where it was looked at is seen; and what is beside it. */
	for (uint32_t i = 0; i < 3; i++) {
		copy(id, i * (LARGE / 12), VB_TIER_SOURCE, H);
		assert_int_equal(e[i * (LARGE / 12)].valid, 1u << H);
		assert_int_equal(e[i * (LARGE / 12) + 1].valid, 0);
	}
	munmap((void *)e, bytes);
}

/* ---- the executor that people run ---- */

static int open_successor(void)
{
	struct vgpu_exec_params p = {
		.chunk_bytes = rig.chunk_bytes, .threads = 2, .host_bytes = chunks(REAL_SLOTS),
	};
	struct vgpu_uapi *node;
	char text[512];
	int rc = rig_exec_node(&rig, &node);

	return rc ? rc : vgpu_exec_open(node, &p, text, sizeof(text), &rig.real);
}

static long faults(void)
{
	struct rusage r;

	assert_int_equal(getrusage(RUSAGE_SELF, &r), 0);
	return r.ru_minflt;
}

/* It would fault in each page of the table. */
static void executor_adopts_slots_however_large_objects_are(void **state)
{
	uint64_t last = chunks(LARGE - 1);
	uint32_t bo = large_bo();
	long before;
	void *p;

	(void)state;
	assert_rc(rig_map(u, bo, last, 1, VB_MAP_READ, &p), 0);
	vgpu_exec_close(rig.real);
	rig.real = NULL;
	before = faults();
	assert_rc(open_successor(), 0);
	assert_in_range(faults() - before, 0, 1 << 16);
	assert_true(rig_residency(u, bo, LARGE - 1) & 1u << H);
	/* It knows what it has: it can take it away. */
	assert_rc(rig_unmap(u, bo, last, 1, VB_MAP_READ), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_EVICT, 0, chunks(LARGE)), 0);
	for (int i = 0; rig_residency(u, bo, LARGE - 1) && i < 5000; i++)
		usleep(1000);
	assert_int_equal(rig_residency(u, bo, LARGE - 1), 0);
}

/* ---- until the recovery ends ---- */

static void nothing_is_fetched_or_moved_before_the_recovery_ends(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = listed_object(1, &bo);

	(void)state;
	die(&x);
	succeed(&x);
	assert_rc(rig_fetch(&x, &req), -EPERM);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), -EPERM);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_recover(&x, 0), -EPERM);
	copy(id, 0, Z, H);
}

/* What is damaged is gone before clients have it again. */
static void a_copy_is_dropped_before_the_recovery_ends(void **state)
{
	uint32_t bo, id = listed_object(2, &bo), word = 0xfeedbeef, got = 0;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	copy(id, 0, H, N);
	die(&x);
	succeed(&x);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_RECORD, H, H), -EPERM);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), -EINVAL);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, N, N), -EBUSY);
	assert_int_equal(used_bytes(H), 0);
	assert_rc(rig_recover(&x, 0), 0);
	copy(id, 0, N, H);
	assert_rc(rig_read(u, bo, 0, &got, 4), 0);
	assert_int_equal(got, word);
}

static void moves_under_way_are_undone(void **state)
{
	uint32_t bo, id = listed_object(2, &bo), word = 7, old;

	(void)state;
	copy(id, 1, Z, H);
	assert_rc(rig_write(u, bo, chunks(1), &word, 4), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), 0);
	assert_rc(rig_step(&x, id, 1, VB_MOVE_BEGIN, H, N), 0);
	assert_int_equal(used_bytes(H), chunks(2));
	die(&x);
	assert_int_equal(rig_residency(u, bo, 0), 0);
	assert_int_equal(rig_residency(u, bo, 1), 1u << H | 1u << 3);
	assert_int_equal(used_bytes(H), chunks(1));
	assert_int_equal(used_bytes(N), 0);
	old = x.generation;
	succeed(&x);
	assert_int_not_equal(x.generation, old);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, Z, H), -EINVAL);
	copy(id, 0, Z, H);
	copy(id, 1, H, N);
}

/* ---- what is lost ---- */

static void what_only_a_device_had_is_lost(void **state)
{
	uint32_t bo, id = listed_object(1, &bo), other, other_id = listed_object(1, &other), queue, word;

	(void)state;
	copy(id, 0, Z, H);
	copy(id, 0, H, D);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_WRITE, D, D), 0);
	assert_int_equal(rig_residency(u, bo, 0), 1u << D | 1u << 3);
	copy(other_id, 0, Z, H);
	copy(other_id, 0, H, D);
	queue = interrupted(bo, VB_ACCESS_READ);
	die(&x);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_int_equal(rig_residency(u, other, 0), 1u << H);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	assert_rc(rig_read(u, other, 0, &word, 4), 0);
	/* The arena's number is free for the next device. */
	assert_int_equal(arena(&x, D), 1);
}

static void another_identity_has_lost_the_nvme_content(void **state)
{
	const uint64_t wrong[2] = { identity[0], identity[1] + 1 };
	const struct rig_exec before = x;
	uint32_t bo, word, queue;

	(void)state;
	absent_object(&bo);
	queue = interrupted(bo, VB_ACCESS_READ);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(adopt(&x, before.host, 0, NULL), 0);
	assert_rc(adopt(&x, before.nvme, 0, wrong), -ESTALE);
	assert_rc(adopt(&x, before.nvme, 0, NULL), -ESTALE);
	assert_rc(adopt(&x, before.device, 0, NULL), -ENOENT);
	assert_rc(adopt(&x, 77, 0, NULL), -ENOENT);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_rc(rig_recover(&x, 0), 0);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
}

static void host_memory_that_is_not_adopted_is_lost(void **state)
{
	uint32_t bo, id = listed_object(1, &bo), word = 9;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_write(u, bo, 0, &word, 4), 0);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_read(u, bo, 0, &word, 4), -EIO);
	assert_int_equal(used_bytes(H), 0);
}

/* What is wrong with the answers of one who makes arenas until he is told to stop. */
static void *make_arenas(void *stop)
{
	const char *wrong = NULL;

	while (!atomic_load((atomic_bool *)stop)) {
		struct vb_ioc_arena_create cmd = {
			.size = sizeof(cmd), .tier = D, .numa_node = -1, .slots = SLOTS,
		};
		int rc = vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, &cmd);

		if (rc && rc != -EDQUOT)
			wrong = "an arena is refused";
		else if (!rc && (cmd.out_cpu_path != VB_CPU_MIGRATE ||
				 cmd.out_cpu_reason != -EOPNOTSUPP))
			wrong = "an arena of the executor's memory is another one's";
	}
	return (void *)wrong;
}

/* Two threads of a successor do not agree; a checker of memory sees what outlives its arena. */
static void arenas_may_go_while_they_are_made(void **state)
{
	atomic_bool stop;
	pthread_t thread;
	void *wrong;

	(void)state;
	for (uint32_t i = 0; i < 300; i++) {
		die(&x);
		assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
		atomic_init(&stop, false);
		assert_int_equal(pthread_create(&thread, NULL, make_arenas, &stop), 0);
		usleep(i % 30 * 20);
		assert_rc(rig_recover(&x, VB_RECOVER_DISCARD), 0);
		atomic_store(&stop, true);
		pthread_join(thread, &wrong);
		if (wrong)
			fail_msg("%s", (const char *)wrong);
	}
}

/* ---- memory to which others refer ---- */

/* A pipe that refers to a page of each of some slots, as I/O does. */
static void lend(int fd, char *memory, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct iovec iov = { memory + chunks(i), 4096 };

		assert_int_equal(vmsplice(fd, &iov, 1, 0), 4096);
	}
}

static void take_back(int fd, uint32_t count, uint8_t expected)
{
	uint8_t page[4096];

	while (count--) {
		assert_int_equal(read(fd, page, sizeof(page)), sizeof(page));
		assert_int_equal(page[0], expected);
		assert_int_equal(page[4095], expected);
	}
}

/*
 * The executor dies while a pipe refers to @count slots of its: to the one that it fills,
 * which is the last, and to others, which are free.  Another one attaches.
 */
static void die_lending(uint32_t id, uint32_t count, int fds[2])
{
	assert_int_equal(pipe(fds), 0);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, Z, H), 0);
	memset(x.memory, 0x11, x.bytes);
	lend(fds[1], x.memory, 0, count - 1);
	lend(fds[1], x.memory, SLOTS - 1, 1);
	die(&x);
	assert_int_equal(used_bytes(H), chunks(count));
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
}

static void slots_lent_by_the_dead_are_kept_until_they_return(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);
	const struct rig_exec before = x;
	int fds[2];

	(void)state;
	die_lending(id, 2, fds);
	assert_rc(adopt(&x, before.host, 0, NULL), -EBUSY);
	assert_rc(adopt(&x, before.nvme, 0, identity), -EBUSY);
	take_back(fds[0], 2, 0x11);
	assert_rc(adopt(&x, before.host, 0, NULL), 0);
	assert_rc(adopt(&x, before.nvme, 0, identity), 0);
	assert_int_equal(used_bytes(H), 0);
	close(fds[0]);
	close(fds[1]);
}

static void slots_lent_by_the_dead_get_new_memory_where_it_must_be(void **state)
{
	uint32_t bo, id = listed_object(SLOTS, &bo);
	const struct rig_exec before = x;
	int fds[2];

	(void)state;
	die_lending(id, SLOTS, fds);
	assert_rc(adopt(&x, before.host, VB_ADOPT_FORCE, NULL), 0);
	/* What was forced is the successor's now, and the dead write out of it as they did. */
	assert_rc(adopt(&x, before.nvme, 0, identity), -EBUSY);
	map_adopted(&x, before.host);
	assert_rc(rig_recover(&x, 0), 0);
	for (uint32_t i = 0; i < SLOTS; i++)
		copy(id, i, Z, H);
	memset(x.memory, 0x22, x.bytes);
	/* The dead still have what they had, and nobody else has it. */
	take_back(fds[0], SLOTS, 0x11);
	close(fds[0]);
	close(fds[1]);
}

static void what_the_successor_registers_is_no_pin_and_what_clients_pin_is(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);
	int own[2], theirs[2];
	void *p;

	(void)state;
	assert_int_equal(pipe(own), 0);
	assert_int_equal(pipe(theirs), 0);
	copy(id, 0, Z, H);
	write_pattern(bo, 4096, 0);
	die(&x);
	succeed(&x);
	lend(own[1], x.memory, 0, SLOTS);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), true, &p), 0);
	memset(p, 0x33, 4096);
	lend(theirs[1], p, 0, 1);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, H, N), -EBUSY);
	take_back(theirs[0], 1, 0x33);
	copy(id, 0, H, N);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_int_equal(used_bytes(H), 0);
	munmap(p, chunks(1));
	for (int i = 0; i < 2; i++) {
		close(own[i]);
		close(theirs[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(resident_content_stays_and_is_used_meanwhile),
		CASE(slots_tell_a_successor_what_is_in_them),
		CASE(to_look_at_a_table_costs_no_memory),
		CASE(nothing_is_fetched_or_moved_before_the_recovery_ends),
		CASE(a_copy_is_dropped_before_the_recovery_ends),
		CASE(nvme_content_stays_with_its_identity),
		CASE(moves_under_way_are_undone),
		CASE(what_only_a_device_had_is_lost),
		CASE(another_identity_has_lost_the_nvme_content),
		CASE(host_memory_that_is_not_adopted_is_lost),
		CASE(arenas_may_go_while_they_are_made),
		CASE(slots_lent_by_the_dead_are_kept_until_they_return),
		CASE(slots_lent_by_the_dead_get_new_memory_where_it_must_be),
		CASE(what_the_successor_registers_is_no_pin_and_what_clients_pin_is),
	};
	const struct CMUnitTest real[] = {
		cmocka_unit_test_setup_teardown(executor_adopts_slots_however_large_objects_are,
						recovery_setup, recovery_teardown),
	};
	int failed;

	if (!selftest_has_module("recover"))
		return 0;
	failed = SELFTEST_RUN("recover", tests, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("recover, executor", real, RIG_REAL, REAL_SLOTS, 0);
	return failed ? 1 : 0;
}
