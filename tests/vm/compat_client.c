// SPDX-License-Identifier: MIT
/*
 * A client of 32 bits under a kernel of 64: speaks to the node that is its argument, with
 * nothing but the contract, and says what was not as it says.  compat_test.c runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vblackwell.h>

#define N		1000u	/* words of the object that a submission fills */
#define PATTERN		0x3fc00000u

static int node;

#define CALL(request, ...) ({ int rc_ = ioctl(node, request, __VA_ARGS__); rc_ < 0 ? -errno : rc_; })
#define EXPECT(expression, expected) do {						\
	long long is_ = (expression), should_ = (expected);				\
	if (is_ != should_) {								\
		printf("line %d: %s is %lld, not %lld\n", __LINE__, #expression, is_, should_);	\
		exit(1);								\
	}										\
} while (0)

static uint64_t address_of(const void *p)
{
	return (uintptr_t)p;
}

static uint32_t device_tells_of_itself(void)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct vb_ioc_query_tier t = { .size = sizeof(t) };

	EXPECT(CALL(VB_IOC_QUERY_DEVICE, &q), 0);
	EXPECT(q.out_exec_state, VB_EXEC_LIVE);
	EXPECT(q.out_tier_count > 0, 1);
	EXPECT(CALL(VB_IOC_QUERY_TIER, &t), 0);
	EXPECT(t.out_bytes % q.out_chunk_bytes, 0);
	return q.out_chunk_bytes;
}

static uint32_t new_object(uint64_t bytes)
{
	struct vb_ioc_bo_create c = {
		.size = sizeof(c), .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = bytes,
	};

	EXPECT(CALL(VB_IOC_BO_CREATE, &c), 0);
	return c.out_bo_id;
}

static struct vb_ioc_bo_rw all_of(uint32_t bo, void *memory)
{
	return (struct vb_ioc_bo_rw){
		.size = sizeof(struct vb_ioc_bo_rw), .bo_id = bo, .bytes = N * 4,
		.address = address_of(memory),
	};
}

static void bytes_come_back(uint32_t bo)
{
	uint32_t to[N], from[N];
	struct vb_ioc_bo_rw w = all_of(bo, from), r = all_of(bo, to);

	for (uint32_t i = 0; i < N; i++)
		from[i] = i * 2654435761u;
	EXPECT(CALL(VB_IOC_BO_WRITE, &w), 0);
	EXPECT(w.out_done_bytes, N * 4);
	EXPECT(CALL(VB_IOC_BO_READ, &r), 0);
	EXPECT(memcmp(from, to, sizeof(to)), 0);
}

/* What it would be cut to is an address of its own. */
static void addresses_are_not_cut_to_32_bits(uint32_t bo)
{
	uint32_t memory[N] = { 7 };
	struct vb_ioc_bo_rw r = all_of(bo, memory);

	r.address |= 1ull << 32;
	EXPECT(CALL(VB_IOC_BO_READ, &r), -EFAULT);
	EXPECT(memory[0], 7);
}

static void lengths_have_64_bits(uint32_t bo)
{
	struct vb_ioc_bo_rw r = all_of(bo, &bo);
	struct vb_ioc_bo_create c = {
		.size = sizeof(c), .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 1ull << 62,
	};

	r.offset = 1ull << 32;
	EXPECT(CALL(VB_IOC_BO_READ, &r), -ERANGE);
	EXPECT(CALL(VB_IOC_BO_CREATE, &c), -EINVAL);
}

static void submission_fills(uint32_t bo)
{
	struct {
		struct vb_stream_header h;
		struct vb_cmd_fill fill;
	} s = {
		.h = {
			.magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION,
			.bytes = sizeof(s), .commands = 1,
		},
		.fill = {
			.h = { .opcode = VB_CMD_FILL, .bytes = sizeof(s.fill) },
			.value = PATTERN,
			.y = { .format = VB_FORMAT_F32, .rank = 1, .shape = { N } },
		},
	};
	struct vb_bo_ref ref = { .bo_id = bo, .access = VB_ACCESS_WRITE };
	struct vb_ioc_queue_create q = { .size = sizeof(q) };
	uint32_t to[N];
	struct vb_ioc_bo_rw r = all_of(bo, to);

	EXPECT(CALL(VB_IOC_QUEUE_CREATE, &q), 0);
	struct vb_ioc_submit submit = {
		.size = sizeof(submit), .queue_id = q.out_queue_id, .stream_bytes = sizeof(s),
		.stream_address = address_of(&s), .bos_address = address_of(&ref), .bo_count = 1,
	};
	EXPECT(CALL(VB_IOC_SUBMIT, &submit), 0);
	EXPECT(submit.out_seqno, 1);
	struct vb_ioc_wait wait = {
		.size = sizeof(wait), .queue_id = q.out_queue_id, .seqno = 1, .timeout_ns = ~0ull,
	};
	EXPECT(CALL(VB_IOC_WAIT, &wait), 0);
	EXPECT(wait.out_status, 0);
	EXPECT(CALL(VB_IOC_BO_READ, &r), 0);
	for (uint32_t i = 0; i < N; i++)
		EXPECT(to[i], PATTERN);
}

static void object_goes(uint32_t bo)
{
	struct vb_ioc_bo_destroy d = { .size = sizeof(d), .bo_id = bo };

	EXPECT(CALL(VB_IOC_BO_DESTROY, &d), 0);
	EXPECT(CALL(VB_IOC_BO_DESTROY, &d), -ENOENT);
}

int main(int argc, char **argv)
{
	uint32_t bo;

	EXPECT(argc, 2);
	EXPECT(sizeof(void *), 4);
	node = open(argv[1], O_RDWR | O_CLOEXEC);
	EXPECT(node >= 0, 1);
	bo = new_object(3ull * device_tells_of_itself());
	bytes_come_back(bo);
	addresses_are_not_cut_to_32_bits(bo);
	lengths_have_64_bits(bo);
	submission_fills(bo);
	object_goes(bo);
	return 0;
}
