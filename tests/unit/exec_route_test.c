// SPDX-License-Identifier: MIT
/*
 * Commands whose bytes are chosen by indices in memory: MATMUL_ID and GATHER read what
 * is selected and no more, and believe no index.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/backend.h"
#include "kernels/pool.h"

#define E	24u		/* experts */
#define N	160u
#define K	256u
#define M	7u
#define TOP	3u
#define EXPERT_BYTES	((uint64_t)N * K * 4)
#define START	1236u

struct moe {
	struct xrig r;
	float *w, *x, *bias, *y;
	int fd;
	uint32_t file, bx, bb, bids, by;
	struct xstream s;
};

static void moe_open(struct moe *t, const struct vgpu_exec_params *p)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) } };

	t->w = xvalues(E * N * K, 1);
	t->x = xvalues(M * K, 2);
	t->bias = xvalues(E * N, 3);
	t->y = xalloc(M * TOP * N * 4);
	t->fd = xfile(t->w, E * EXPERT_BYTES, START);
	xrig_start(&t->r, p);
	t->file = xrig_file(&t->r, t->fd, START, E * EXPERT_BYTES);
	t->bx = xrig_anonymous(&t->r, M * K * 4);
	t->bb = xrig_anonymous(&t->r, E * N * 4);
	t->bids = xrig_anonymous(&t->r, M * TOP * 4);
	t->by = xrig_anonymous(&t->r, M * TOP * N * 4);
	assert_int_equal(xrig_write(&t->r, t->bx, 0, t->x, M * K * 4), 0);
	assert_int_equal(xrig_write(&t->r, t->bb, 0, t->bias, E * N * 4), 0);
	xstream_begin(&t->s);
	c.x = xmatrix(&t->s, t->bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, K);
	c.w = xcube(&t->s, t->file, VB_ACCESS_READ, 0, VB_FORMAT_F32, E, N, K);
	c.ids = xmatrix(&t->s, t->bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, M, TOP);
	c.bias = xmatrix(&t->s, t->bb, VB_ACCESS_READ, 0, VB_FORMAT_F32, E, N);
	c.y = xcube(&t->s, t->by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M, TOP, N);
	xstream_add(&t->s, &c, sizeof(c));
}

static void moe_close(struct moe *t)
{
	xrig_close(&t->r);
	close(t->fd);
	free(t->w);
	free(t->x);
	free(t->bias);
	free(t->y);
}

static void moe_expect_right(struct moe *t, const int32_t *ids)
{
	assert_int_equal(xrig_read(&t->r, t->by, 0, t->y, M * TOP * N * 4), 0);
	for (uint32_t i = 0; i < M * TOP * N; i++) {
		uint32_t e = (uint32_t)ids[i / N];
		double size, want = xdot(t->x + i / N / TOP * K, t->w + ((size_t)e * N + i % N) * K, K,
					 &size) + t->bias[e * N + i % N];

		if (fabs(t->y[i] - want) > (size + 1) / (1 << 18))
			fail_msg("y[%u] is %g, want %g", i, (double)t->y[i], want);
	}
}

static uint32_t random_ids(int32_t *ids, uint32_t experts, uint64_t *seed)
{
	bool seen[E] = { false };
	uint32_t count = 0;

	for (uint32_t i = 0; i < M * TOP; i++) {
		ids[i] = (int32_t)(xrandom(seed) % experts);
		count += !seen[ids[i]];
		seen[ids[i]] = true;
	}
	return count;
}

static void route_reads_only_the_experts_that_are_selected(void **state)
{
	struct vgpu_exec_params p = xrig_params(14);
	uint64_t seed = 42, before[VB_COUNT_COUNT], after[VB_COUNT_COUNT];
	int32_t ids[M * TOP];
	struct moe t;

	(void)state;
	moe_open(&t, &p);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t experts = random_ids(ids, 1 + (uint32_t)(xrandom(&seed) % E), &seed);
		uint64_t most;

		assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
		xrig_counters(&t.r, before);
		xrig_must_run(&t.r, &t.s);
		xrig_counters(&t.r, after);
		moe_expect_right(&t, ids);
		/* An expert touches a chunk more than it fills, at either end. */
		most = experts * (EXPERT_BYTES + 2 * XCHUNK);
		assert_true(after[VB_COUNT_READ_BYTES] - before[VB_COUNT_READ_BYTES] <= most);
	}
	assert_int_equal(after[VB_COUNT_WRITE_BYTES], 0);
	moe_close(&t);
}

/*
 * Each chunk of the chosen experts is announced once: a second time would leave it
 * wanted after its use, and the staging slots full of what nobody wants.
 */
static bool every_expert_is_read_ahead(void *slots)
{
	struct vgpu_exec_params p = xrig_params(*(uint32_t *)slots);
	uint64_t before[VB_COUNT_COUNT], after[VB_COUNT_COUNT], reads;
	int32_t ids[M * TOP];
	struct moe t;
	bool slow;

	for (uint32_t i = 0; i < M * TOP; i++)
		ids[i] = (int32_t)i;
	p.policy = "lru";
	moe_open(&t, &p);
	assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
	xrig_counters(&t.r, before);
	xrig_must_run(&t.r, &t.s);
	xrig_counters(&t.r, after);
	moe_expect_right(&t, ids);
	reads = (after[VB_COUNT_READ_BYTES] - before[VB_COUNT_READ_BYTES]) / XCHUNK;
	assert_true(reads >= M * TOP * EXPERT_BYTES / XCHUNK);
	slow = xrig_was_slow(&t.r);
	if (!slow)
		assert_int_equal(after[VB_COUNT_PREFETCH_USED] - before[VB_COUNT_PREFETCH_USED],
				 reads);
	moe_close(&t);
	return !slow;
}

static void route_reads_every_chosen_expert_ahead(void **state)
{
	(void)state;
	for (uint32_t slots = 10; slots < 21; slots += 5)
		xrig_unless_slow(every_expert_is_read_ahead, &slots);
}

static void route_refuses_an_index_out_of_range(void **state)
{
	static const int32_t wrong[] = { -1, E, INT32_MIN, INT32_MAX };
	struct vgpu_exec_params p = xrig_params(40);
	int32_t ids[M * TOP] = { 0 };
	struct moe t;

	(void)state;
	moe_open(&t, &p);
	for (uint32_t i = 0; i < 4; i++) {
		char want[80];

		snprintf(want, sizeof(want), "(matmul_id): ids[%u][%u] is %d; w has %u matrices",
			 i * 5 / TOP, i * 5 % TOP, wrong[i], E);
		ids[i * 5] = wrong[i];
		assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
		assert_int_equal(xrun(&t.r, &t.s), -EINVAL);
		assert_non_null(strstr(xrig_error(&t.r), want));
		xrig_assert_sound(&t.r);
		ids[i * 5] = 0;
	}
	assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
	xrig_must_run(&t.r, &t.s);
	moe_expect_right(&t, ids);
	moe_close(&t);
}

/* ---- GATHER ---- */

#define ROWS	3000u
#define COLS	96u
#define PICKS	33u

struct table {
	struct xrig r;
	float *values, *y;
	int fd;
	uint32_t file, bids, by;
	struct xstream s;
};

static void table_open(struct table *t, const struct vgpu_exec_params *p)
{
	struct vb_cmd_gather c = { .h = { VB_CMD_GATHER, 0, sizeof(c) } };

	t->values = xvalues(ROWS * COLS, 1);
	t->y = xalloc(PICKS * COLS * 4);
	t->fd = xfile(t->values, ROWS * COLS * 4, START);
	xrig_start(&t->r, p);
	t->file = xrig_file(&t->r, t->fd, START, ROWS * COLS * 4);
	t->bids = xrig_anonymous(&t->r, PICKS * 4);
	t->by = xrig_anonymous(&t->r, PICKS * COLS * 4);
	xstream_begin(&t->s);
	c.table = xmatrix(&t->s, t->file, VB_ACCESS_READ, 0, VB_FORMAT_F32, ROWS, COLS);
	c.ids = xvector(&t->s, t->bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, PICKS);
	c.y = xmatrix(&t->s, t->by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, PICKS, COLS);
	xstream_add(&t->s, &c, sizeof(c));
}

static void table_close(struct table *t)
{
	xrig_close(&t->r);
	close(t->fd);
	free(t->values);
	free(t->y);
}

static void gather_reads_only_the_rows_that_are_selected(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	uint64_t seed = 7, before[VB_COUNT_COUNT], after[VB_COUNT_COUNT];
	int32_t ids[PICKS];
	struct table t;

	(void)state;
	table_open(&t, &p);
	for (uint32_t i = 0; i < 40; i++) {
		/* A few rows of one region, or of the whole table. */
		uint32_t span = i % 2 ? ROWS : 100, base = (uint32_t)(xrandom(&seed) % (ROWS - 99));

		for (uint32_t j = 0; j < PICKS; j++)
			ids[j] = (int32_t)((base + xrandom(&seed) % span) % ROWS);
		assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
		xrig_counters(&t.r, before);
		xrig_must_run(&t.r, &t.s);
		xrig_counters(&t.r, after);
		assert_int_equal(xrig_read(&t.r, t.by, 0, t.y, PICKS * COLS * 4), 0);
		for (uint32_t j = 0; j < PICKS; j++)
			assert_memory_equal(t.y + j * COLS, t.values + (size_t)ids[j] * COLS, COLS * 4);
		if (span == 100 && base + span <= ROWS)
			assert_true(after[VB_COUNT_READ_BYTES] - before[VB_COUNT_READ_BYTES] <=
				    2 * XCHUNK * 2);
	}
	table_close(&t);
}

static void gather_refuses_an_index_out_of_range(void **state)
{
	struct vgpu_exec_params p = xrig_params(10);
	int32_t ids[PICKS] = { 0 };
	struct table t;

	(void)state;
	table_open(&t, &p);
	ids[5] = ROWS;
	assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
	assert_int_equal(xrun(&t.r, &t.s), -EINVAL);
	assert_non_null(strstr(xrig_error(&t.r), "ids[5] is 3000; the table has 3000 rows"));
	ids[5] = -1;
	assert_int_equal(xrig_write(&t.r, t.bids, 0, ids, sizeof(ids)), 0);
	assert_int_equal(xrun(&t.r, &t.s), -EINVAL);
	table_close(&t);
}

/* ---- another thread writes the indices while they are used ---- */

#if defined(__SANITIZE_THREAD__)
#define RACES 1		/* the race is the point of these two tests */
#else
#define RACES 0
#endif

struct flipper {
	volatile int32_t *ids;
	uint32_t count, limit;
	atomic_bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	uint64_t seed = 99;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		uint64_t x = xrandom(&seed);

		f->ids[x % f->count] = x >> 40 & 1 ? (int32_t)(x >> 8) : (int32_t)((x >> 8) % f->limit);
		f->ids[(x >> 16) % f->count] = (int32_t)((x >> 20) % f->limit);
	}
	return NULL;
}

static void run_while_flipped(struct xrig *r, uint32_t bids, const struct xstream *s,
			      uint32_t count, uint32_t limit)
{
	struct flipper f = { .count = count, .limit = limit };
	pthread_t thread;
	void *at;

	assert_int_equal(xrig_map(r, bids, 0, count * 4, VB_MAP_READ | VB_MAP_WRITE, &at), 0);
	f.ids = at;
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (uint32_t i = 0; i < 200; i++) {
		int rc = xrun(r, s);

		assert_true(!rc || rc == -EINVAL);
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(xrig_unmap(r, bids, 0, count * 4, VB_MAP_READ | VB_MAP_WRITE), 0);
}

static void route_survives_indices_that_change_while_they_are_used(void **state)
{
	struct vgpu_exec_params p = xrig_params(40);
	struct moe t;

	(void)state;
	if (RACES) {
		print_message("SKIP: a data race on purpose, under ThreadSanitizer\n");
		skip();
	}
	moe_open(&t, &p);
	run_while_flipped(&t.r, t.bids, &t.s, M * TOP, E);
	moe_close(&t);
}

static void gather_survives_indices_that_change_while_they_are_used(void **state)
{
	struct vgpu_exec_params p = xrig_params(12);
	struct table t;

	(void)state;
	if (RACES) {
		print_message("SKIP: a data race on purpose, under ThreadSanitizer\n");
		skip();
	}
	table_open(&t, &p);
	run_while_flipped(&t.r, t.bids, &t.s, PICKS, ROWS);
	table_close(&t);
}

/* Each expert once, ascending, whatever the number of experts is: no memory goes by it. */
static void ids_are_selected_at_the_cost_of_the_ids_alone(void **state)
{
	static int32_t ids[] = { 5, INT32_MAX, 0, 5, 7, 5, 1 << 24 | 5, 1 << 24 };
	static const uint32_t want[] = { 0, 5, 7, 1 << 24, 1 << 24 | 5, INT32_MAX };
	const struct vgpu_pool_params one = { .threads = 1 };
	struct vb_cmd_matmul_id c = {
		.h = { VB_CMD_MATMUL_ID, 0, sizeof(c) },
		.w = { .format = VB_FORMAT_F16, .rank = 3, .shape = { UINT32_MAX, 1, 1 } },
		.ids = { .format = VB_FORMAT_I32, .rank = 2, .shape = { 4, 2 } },
	};
	struct vgpu_work w = { .cmd = &c.h, .ptr = { [3] = ids } };
	struct vgpu_wrong_id wrong;
	uint32_t matrices[8], count = 0;
	struct vgpu_pool *pool;
	void *be;

	(void)state;
	assert_int_equal(vgpu_pool_open(&one, &pool), 0);
	assert_int_equal(vgpu_backend_cpu.open(pool, &be), 0);
	assert_int_equal(vgpu_backend_cpu.select(be, &w, matrices, &count, &wrong), 0);
	assert_int_equal(count, 6);
	assert_memory_equal(matrices, want, sizeof(want));
	vgpu_backend_cpu.end(be, &w);
	vgpu_backend_cpu.close(be);
	vgpu_pool_close(pool);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static uint64_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
#endif

/*
 * 2^32 - 1 experts of one value each, in a file that has no blocks: what the executor
 * allocates goes by the four ids.
 */
static void route_allocates_by_the_ids_and_not_by_the_experts(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	(void)state;
	print_message("SKIP: a sanitizer's own address space is not to be limited\n");
	skip();
#else
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) } };
	static const int32_t ids[4] = { 0, INT32_MAX, 5, 5 };
	struct vgpu_exec_params p = xrig_params(14);
	struct rlimit saved, limit;
	uint32_t file, a;
	struct xstream s;
	struct xrig r;
	float x[2] = { 1, 2 };
	int fd = xfile("", 0, 0);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)UINT32_MAX * 2), 0);
	xrig_start(&r, &p);
	file = xrig_file(&r, fd, 0, (uint64_t)UINT32_MAX * 2);
	a = xrig_anonymous(&r, 4096);
	assert_int_equal(xrig_write(&r, a, 0, ids, sizeof(ids)), 0);
	assert_int_equal(xrig_write(&r, a, 64, x, sizeof(x)), 0);
	xstream_begin(&s);
	c.x = xmatrix(&s, a, VB_ACCESS_READ, 64, VB_FORMAT_F32, 2, 1);
	c.w = xcube(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_F16, UINT32_MAX, 1, 1);
	c.ids = xmatrix(&s, a, VB_ACCESS_READ, 0, VB_FORMAT_I32, 2, 2);
	c.y = xcube(&s, a, VB_ACCESS_WRITE, 128, VB_FORMAT_F32, 2, 2, 1);
	xstream_add(&s, &c, sizeof(c));
	assert_int_equal(getrlimit(RLIMIT_AS, &saved), 0);
	limit = (struct rlimit){ address_space() + (2ull << 30), saved.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	xrig_must_run(&r, &s);
	assert_int_equal(setrlimit(RLIMIT_AS, &saved), 0);
	xrig_close(&r);
	close(fd);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(route_reads_only_the_experts_that_are_selected),
		cmocka_unit_test(route_reads_every_chosen_expert_ahead),
		cmocka_unit_test(route_refuses_an_index_out_of_range),
		cmocka_unit_test(gather_reads_only_the_rows_that_are_selected),
		cmocka_unit_test(gather_refuses_an_index_out_of_range),
		cmocka_unit_test(route_survives_indices_that_change_while_they_are_used),
		cmocka_unit_test(gather_survives_indices_that_change_while_they_are_used),
		cmocka_unit_test(ids_are_selected_at_the_cost_of_the_ids_alone),
		cmocka_unit_test(route_allocates_by_the_ids_and_not_by_the_experts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
