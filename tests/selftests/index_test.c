// SPDX-License-Identifier: MIT
/*
 * Indices that lie in buffers are hostile at every load: while commands run, another
 * thread flips them between what is in range and what is not.  Each fence then says
 * 0 or -EINVAL, and under the address sanitizer nothing else happens either.
 */
#include "selftests/selftest.h"

#include <pthread.h>
#include <stdatomic.h>

#define ROWS	64u
#define COLS	32u
#define IDS	16u
#define EXPERTS	8u
#define ROUNDS	3000

#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN	true
#else
#define UNDER_TSAN	false
#endif

static atomic_bool stop;
static uint32_t queue, table, ids, input, output;

static const int32_t hostile[] = {
	0, 3, -1, (int32_t)ROWS, (int32_t)ROWS - 1, (int32_t)EXPERTS, INT32_MAX, INT32_MIN, 1 << 20, 7,
};

static void *flip_mapped(void *arg)
{
	volatile int32_t *at = arg;

	for (uint32_t i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++)
		at[i % IDS] = hostile[i * 7 % (sizeof(hostile) / sizeof(hostile[0]))];
	return NULL;
}

static int index_setup(void **state)
{
	uint64_t bytes = (uint64_t)EXPERTS * ROWS * COLS * 4;
	float *values = calloc(1, bytes);
	int rc;

	if (selftest_setup(state))
		return -1;
	rc = rig_queue(rig.client, 0, &queue) ||
	     rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &table) ||
	     rig_bo(rig.client, IDS * 4, VB_LIFE_VOLATILE, &ids) ||
	     rig_bo(rig.client, IDS * COLS * 4, VB_LIFE_VOLATILE, &input) ||
	     rig_bo(rig.client, (uint64_t)IDS * ROWS * 4, VB_LIFE_VOLATILE, &output) ||
	     rig_write(rig.client, table, 0, values, bytes) ||
	     rig_write(rig.client, input, 0, values, IDS * COLS * 4);
	free(values);
	return rc;
}

static struct vb_operand operand(uint32_t bo, uint16_t format, uint32_t a, uint32_t b, uint32_t c)
{
	struct vb_operand op = { .bo = bo, .format = format, .rank = 1, .shape = { a, b, c } };

	op.rank = (uint8_t)(1 + (b != 0) + (c != 0));
	return op;
}

static void make_gather(struct rig_stream *s)
{
	struct vb_cmd_gather cmd = { .h = { .opcode = VB_CMD_GATHER, .bytes = sizeof(cmd) } };

	rig_stream(s);
	cmd.table = operand(rig_add_bo(s, table, VB_ACCESS_READ), VB_FORMAT_F32, ROWS, COLS, 0);
	cmd.ids = operand(rig_add_bo(s, ids, VB_ACCESS_READ), VB_FORMAT_I32, IDS, 0, 0);
	cmd.y = operand(rig_add_bo(s, output, VB_ACCESS_WRITE), VB_FORMAT_F32, IDS, COLS, 0);
	rig_add(s, &cmd, sizeof(cmd));
}

static void make_matmul_id(struct rig_stream *s)
{
	struct vb_cmd_matmul_id cmd = { .h = { .opcode = VB_CMD_MATMUL_ID, .bytes = sizeof(cmd) } };

	rig_stream(s);
	cmd.x = operand(rig_add_bo(s, input, VB_ACCESS_READ), VB_FORMAT_F32, IDS / 2, COLS, 0);
	cmd.w = operand(rig_add_bo(s, table, VB_ACCESS_READ), VB_FORMAT_F32, EXPERTS, ROWS, COLS);
	cmd.ids = operand(rig_add_bo(s, ids, VB_ACCESS_READ), VB_FORMAT_I32, IDS / 2, 2, 0);
	cmd.y = operand(rig_add_bo(s, output, VB_ACCESS_WRITE), VB_FORMAT_F32, IDS / 2, 2, ROWS);
	rig_add(s, &cmd, sizeof(cmd));
}

static void make_rope(struct rig_stream *s)
{
	const float base = 10000.0f, scale = 1.0f;
	struct vb_cmd_rope cmd = { .h = { .opcode = VB_CMD_ROPE, .bytes = sizeof(cmd) }, .rot = COLS };

	rig_stream(s);
	memcpy(&cmd.base_f32, &base, 4);
	memcpy(&cmd.freq_scale_f32, &scale, 4);
	cmd.x = operand(rig_add_bo(s, input, VB_ACCESS_READ), VB_FORMAT_F32, IDS, 1, COLS);
	cmd.positions = operand(rig_add_bo(s, ids, VB_ACCESS_READ), VB_FORMAT_I32, IDS, 0, 0);
	cmd.y = operand(rig_add_bo(s, output, VB_ACCESS_WRITE), VB_FORMAT_F32, IDS, 1, COLS);
	rig_add(s, &cmd, sizeof(cmd));
}

static int run(const struct rig_stream *s)
{
	uint64_t seqno;
	int rc = rig_submit(rig.client, queue, s, &seqno);

	return rc ? rc : rig_wait(rig.client, queue, seqno, 30000);
}

static void set_ids(int32_t value)
{
	int32_t all[IDS];

	for (uint32_t i = 0; i < IDS; i++)
		all[i] = value;
	assert_rc(rig_write(rig.client, ids, 0, all, sizeof(all)), 0);
}

/* Standing still, the bounds are exact. */
static void check_bounds(void (*make)(struct rig_stream *s), int32_t last, bool bounded)
{
	static const int32_t outside[] = { -1, INT32_MIN };
	struct rig_stream s;

	make(&s);
	set_ids(0);
	assert_rc(run(&s), 0);
	set_ids(last);
	assert_rc(run(&s), 0);
	for (int i = 0; i < 2; i++) {
		set_ids(outside[i]);
		assert_rc(run(&s), -EINVAL);
	}
	if (!bounded)
		return;
	set_ids(last + 1);
	assert_rc(run(&s), -EINVAL);
	set_ids(INT32_MAX);
	assert_rc(run(&s), -EINVAL);
}

static void flip_while_running(void (*make)(struct rig_stream *s))
{
	struct rig_stream s;
	int ok = 0, refused = 0;
	pthread_t thread;
	void *p;

	if (UNDER_TSAN) {
		print_message("SKIP: the race is what is tested, and TSan would report it\n");
		skip();
	}
	make(&s);
	set_ids(0);
	atomic_store(&stop, false);
	assert_rc(rig_map(rig.client, ids, 0, IDS * 4, VB_MAP_READ | VB_MAP_WRITE, &p), 0);
	assert_int_equal(pthread_create(&thread, NULL, flip_mapped, p), 0);
	for (int i = 0; i < ROUNDS; i++) {
		int rc = run(&s);

		ok += !rc;
		refused += rc == -EINVAL;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_rc(rig_unmap(rig.client, ids, 0, IDS * 4, VB_MAP_READ | VB_MAP_WRITE), 0);
	assert_int_equal(ok + refused, ROUNDS);
	set_ids(1);
	assert_rc(run(&s), 0);	/* and the device goes on */
}

static void gather_bounds_are_exact(void **state)
{
	(void)state;
	check_bounds(make_gather, ROWS - 1, true);
}

static void matmul_id_bounds_are_exact(void **state)
{
	(void)state;
	check_bounds(make_matmul_id, EXPERTS - 1, true);
}

static void rope_positions_are_not_negative(void **state)
{
	(void)state;
	check_bounds(make_rope, 1 << 20, false);
}

static void gather_ids_flipped_while_it_runs(void **state)
{
	(void)state;
	flip_while_running(make_gather);
}

static void matmul_id_ids_flipped_while_it_runs(void **state)
{
	(void)state;
	flip_while_running(make_matmul_id);
}

static void rope_positions_flipped_while_it_runs(void **state)
{
	(void)state;
	flip_while_running(make_rope);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, index_setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(gather_bounds_are_exact),
		CASE(matmul_id_bounds_are_exact),
		CASE(rope_positions_are_not_negative),
		CASE(gather_ids_flipped_while_it_runs),
		CASE(matmul_id_ids_flipped_while_it_runs),
		CASE(rope_positions_flipped_while_it_runs),
	};

	return SELFTEST_RUN("indices", tests, RIG_REAL, 24, 0) ? 1 : 0;
}
