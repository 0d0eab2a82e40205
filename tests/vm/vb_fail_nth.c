// SPDX-License-Identifier: MIT
/*
 * Sequences that work, in which the Nth thing that can fail does: an allocation of the
 * kernel, or a copy from or to the caller.  N counts from 1 until the sequence passes.
 *
 * Each failure is told by an errno that says what was lacking, undoes what was done, and
 * leaves the device as it was: nothing used, nothing reserved.  What only a leak detector
 * sees is looked for by the suite afterwards.
 */
#include "selftests/selftest.h"
#include "vm/inject.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define HOST_SLOTS	8u
#define NVME_SLOTS	8u
#define N_MAX		3000u

static int node = -1;		/* a client */

/* ---- words ---- */

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int bo_create(int fd, uint64_t bytes, uint32_t *id)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = bytes,
	};
	int rc = call(fd, VB_IOC_BO_CREATE, &cmd);

	*id = cmd.out_bo_id;
	return rc;
}

/* Undo: when an argument or an answer cannot be copied, again, to no effect if it was done. */
static int call_twice(int fd, unsigned long request, void *arg, int done)
{
	int rc = call(fd, request, arg);

	if (rc == -EFAULT)
		rc = call(fd, request, arg);
	return rc == done ? 0 : rc;
}

static int bo_destroy(int fd, uint32_t id)
{
	struct vb_ioc_bo_destroy cmd = { .size = sizeof(cmd), .bo_id = id };

	return call_twice(fd, VB_IOC_BO_DESTROY, &cmd, -ENOENT);
}

static int bo_rw(unsigned long request, uint32_t id, void *memory, uint64_t bytes)
{
	struct vb_ioc_bo_rw cmd = {
		.size = sizeof(cmd), .bo_id = id, .bytes = bytes, .address = (uintptr_t)memory,
	};

	return call(node, request, &cmd);
}

static int advise(uint32_t id, uint32_t advice, uint64_t bytes)
{
	struct vb_ioc_bo_advise cmd = {
		.size = sizeof(cmd), .bo_id = id, .advice = advice, .bytes = bytes,
	};

	return call(node, VB_IOC_BO_ADVISE, &cmd);
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

/* What a fault cannot have is told by a signal. */
static int touch(void *memory, uint64_t bytes, bool write)
{
	if (sigsetjmp(bus, 1))
		return -ENOMEM;
	for (volatile uint64_t at = 0; at < bytes; at += 4096) {
		volatile char *byte = (char *)memory + at;

		if (write)
			*byte = 1;
		else
			(void)*byte;
	}
	return 0;
}

static int map(int fd, uint64_t offset, uint64_t bytes, int prot, void **out)
{
	*out = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);
	return *out == MAP_FAILED ? -errno : 0;
}

/* ---- sequences of a client ---- */

static int open_and_close(void)
{
	struct vb_ioc_query_device cmd = { .size = sizeof(cmd) };
	int fd = open("/dev/vblackwell", O_RDWR | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = call(fd, VB_IOC_QUERY_DEVICE, &cmd);
	close(fd);
	return rc;
}

static int objects_left_to_close(void)
{
	int fd = open("/dev/vblackwell", O_RDWR | O_CLOEXEC), rc;
	uint32_t id;

	if (fd < 0)
		return -errno;
	rc = bo_create(fd, rig.chunk_bytes, &id);
	if (!rc)
		rc = bo_create(fd, 2 * rig.chunk_bytes, &id);
	close(fd);
	return rc;
}

static int object(void)
{
	uint32_t id;
	int rc = bo_create(node, 2 * rig.chunk_bytes, &id);

	return rc ? rc : bo_destroy(node, id);
}

static int file_fd, disk_fd;

static int file_object(void)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_FILE, .fd = file_fd, .bytes = 10000,
	};
	struct vb_ioc_bo_info info = { .size = sizeof(info) };
	uint8_t residency;
	struct vb_ioc_bo_residency where = {
		.size = sizeof(where), .count = 1, .address = (uintptr_t)&residency,
	};
	int rc = call(node, VB_IOC_BO_CREATE, &cmd);

	if (rc)
		return rc;
	info.bo_id = where.bo_id = cmd.out_bo_id;
	rc = call(node, VB_IOC_BO_INFO, &info);
	if (!rc)
		rc = call(node, VB_IOC_BO_RESIDENCY, &where);
	if (!rc)
		rc = bo_rw(VB_IOC_BO_READ, cmd.out_bo_id, &residency, 1);
	return bo_destroy(node, cmd.out_bo_id) ?: rc;
}

/* Two clients have it; who pays leaves first, the other one with a pin. */
static int shared_store(void)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_FILE, .fd = file_fd, .bytes = 10000,
	};
	struct vb_ioc_bo_advise pin = {
		.size = sizeof(pin), .advice = VB_ADVISE_PIN, .bytes = 10000,
	};
	int fd = open("/dev/vblackwell", O_RDWR | O_CLOEXEC);
	uint32_t first;
	int rc;

	if (fd < 0)
		return -errno;
	rc = call(node, VB_IOC_BO_CREATE, &cmd);
	first = cmd.out_bo_id;
	if (rc) {
		close(fd);
		return rc;
	}
	rc = call(fd, VB_IOC_BO_CREATE, &cmd);
	pin.bo_id = cmd.out_bo_id;
	if (!rc)
		rc = call(fd, VB_IOC_BO_ADVISE, &pin);
	rc = bo_destroy(node, first) ?: rc;
	close(fd);
	return rc;
}

static int derived_object(void)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_DERIVED, .fd = file_fd, .bytes = 16 * 32 * 17 / 32,
		.file_bytes = 16 * 32 * 4,
		.transform = {
			.kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_F32,
			.dst_format = VB_FORMAT_MXFP4_G16, .rows = 16, .cols = 32, .stack = 1,
		},
	};
	int rc = call(node, VB_IOC_BO_CREATE, &cmd);

	/* How long it is depends on the format: the device knows. */
	for (cmd.bytes = 64; rc == -EINVAL && cmd.bytes < 65536; cmd.bytes += 64)
		rc = call(node, VB_IOC_BO_CREATE, &cmd);
	return rc ? rc : bo_destroy(node, cmd.out_bo_id);
}

static int write_and_read(void)
{
	static char bytes[100000];
	uint32_t id;
	int rc = bo_create(node, sizeof(bytes), &id);

	if (rc)
		return rc;
	rc = bo_rw(VB_IOC_BO_WRITE, id, bytes, sizeof(bytes));
	if (!rc)
		rc = advise(id, VB_ADVISE_EVICT, sizeof(bytes));
	if (!rc)
		rc = bo_rw(VB_IOC_BO_READ, id, bytes, sizeof(bytes));
	return bo_destroy(node, id) ?: rc;
}

static int bo_map_and_unmap(void)
{
	struct vb_ioc_bo_map cmd = {
		.size = sizeof(cmd), .flags = VB_MAP_READ | VB_MAP_WRITE,
		.bytes = 2 * rig.chunk_bytes,
	};
	struct vb_ioc_bo_unmap undo = {
		.size = sizeof(undo), .flags = cmd.flags, .bytes = cmd.bytes,
	};
	void *p;
	int rc = bo_create(node, cmd.bytes, &cmd.bo_id);
	bool mapped;

	if (rc)
		return rc;
	undo.bo_id = cmd.bo_id;
	rc = call(node, VB_IOC_BO_MAP, &cmd);
	/* It may have been made, and the answer not written. */
	mapped = !rc || rc == -EFAULT;
	if (!rc) {
		rc = map(node, cmd.out_mmap_offset, cmd.bytes, PROT_READ | PROT_WRITE, &p);
		if (!rc) {
			rc = touch(p, cmd.bytes, true);
			munmap(p, cmd.bytes);
		}
	}
	if (mapped)
		rc = call_twice(node, VB_IOC_BO_UNMAP, &undo, -EINVAL) ?: rc;
	return bo_destroy(node, cmd.bo_id) ?: rc;
}

static int faults(void)
{
	uint64_t bytes = 3 * rig.chunk_bytes;
	uint32_t id;
	void *p;
	int rc = bo_create(node, bytes, &id);

	if (rc)
		return rc;
	rc = map(node, (uint64_t)id << 46, bytes, PROT_READ | PROT_WRITE, &p);
	if (!rc) {
		rc = touch(p, bytes, true);
		/* Torn in three, one of them moved away and back. */
		mprotect((char *)p + 8192, 4096, PROT_READ);
		munmap(p, bytes);
	}
	return bo_destroy(node, id) ?: rc;
}

/* Of a disk: once the executor has let it, the module reads by itself. */
static int filled_faults(void)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_FILE, .fd = disk_fd,
		.bytes = 4 * rig.chunk_bytes,
	};
	int rc = call(node, VB_IOC_BO_CREATE, &cmd);
	void *p;

	if (rc)
		return rc;
	rc = map(node, (uint64_t)cmd.out_bo_id << 46, cmd.bytes, PROT_READ, &p);
	if (!rc) {
		rc = touch(p, cmd.bytes, false);
		munmap(p, cmd.bytes);
	}
	return bo_destroy(node, cmd.out_bo_id) ?: rc;
}

static int pin_and_unpin(void)
{
	uint32_t id;
	int rc = bo_create(node, rig.chunk_bytes, &id);

	if (rc)
		return rc;
	rc = advise(id, VB_ADVISE_PIN, rig.chunk_bytes);
	if (rc == -EFAULT)	/* pinned or not: the answer was lost */
		advise(id, VB_ADVISE_UNPIN, rig.chunk_bytes);
	else if (!rc)
		rc = advise(id, VB_ADVISE_UNPIN, rig.chunk_bytes);
	return bo_destroy(node, id) ?: rc;
}

static int prefetch_and_seal(void)
{
	struct vb_ioc_bo_seal seal = { .size = sizeof(seal) };
	uint32_t id;
	int rc = bo_create(node, 2 * rig.chunk_bytes, &id);

	if (rc)
		return rc;
	seal.bo_id = id;
	rc = advise(id, VB_ADVISE_PREFETCH, 2 * rig.chunk_bytes);
	if (!rc)
		rc = call(node, VB_IOC_BO_SEAL, &seal);
	return bo_destroy(node, id) ?: rc;
}

/* ---- queues ---- */

static int queue_create(uint32_t *id)
{
	struct vb_ioc_queue_create cmd = { .size = sizeof(cmd) };
	int rc = call(node, VB_IOC_QUEUE_CREATE, &cmd);

	*id = cmd.out_queue_id;
	return rc;
}

static int queue_destroy(uint32_t id)
{
	struct vb_ioc_queue_destroy cmd = { .size = sizeof(cmd), .queue_id = id };

	return call_twice(node, VB_IOC_QUEUE_DESTROY, &cmd, -ENOENT);
}

static int submit(uint32_t queue, uint32_t bo, const struct vb_fence *fence, __u64 *seqno)
{
	struct {
		struct vb_stream_header h;
		struct vb_cmd_header nop;
	} stream = {
		{ .magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION, .bytes = sizeof(stream),
		  .commands = 1 },
		{ .opcode = VB_CMD_NOP, .bytes = sizeof(struct vb_cmd_header) },
	};
	struct vb_bo_ref ref = { .bo_id = bo, .access = VB_ACCESS_READ };
	struct vb_ioc_submit cmd = {
		.size = sizeof(cmd), .queue_id = queue, .stream_bytes = sizeof(stream),
		.stream_address = (uintptr_t)&stream, .bos_address = (uintptr_t)&ref,
		.bo_count = bo != 0, .fences_address = (uintptr_t)fence, .fence_count = fence != NULL,
	};
	int rc = call(node, VB_IOC_SUBMIT, &cmd);

	*seqno = cmd.out_seqno;
	return rc;
}

/* Where reading the clock is a system call, it may be what fails. */
static uint64_t now_ns(void)
{
	struct timespec t;

	while (clock_gettime(CLOCK_MONOTONIC, &t))
		;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int wait_for(uint32_t queue, uint64_t seqno)
{
	struct vb_ioc_wait cmd = {
		.size = sizeof(cmd), .queue_id = queue, .seqno = seqno,
		.timeout_ns = now_ns() + 20000000000ull,
	};
	int rc = call(node, VB_IOC_WAIT, &cmd);

	if (!rc && cmd.out_status)
		fprintf(stderr, "# the fence ended with %d\n", cmd.out_status);
	return rc ? rc : cmd.out_status;
}

static int submission(void)
{
	uint32_t queue, bo = 0;
	__u64 seqno;
	int rc = queue_create(&queue);

	if (rc)
		return rc;
	rc = bo_create(node, rig.chunk_bytes, &bo);
	if (!rc)
		rc = submit(queue, bo, NULL, &seqno);
	if (!rc)
		rc = wait_for(queue, seqno);
	if (bo)
		rc = bo_destroy(node, bo) ?: rc;
	return queue_destroy(queue) ?: rc;
}

/* Nobody serves them: the ring of results grows, and the queue goes with all of them. */
static int many_submissions(void)
{
	uint32_t queue;
	__u64 seqno;
	int rc = queue_create(&queue);

	if (rc)
		return rc;
	for (int i = 0; !rc && i < 20; i++)
		rc = submit(queue, 0, NULL, &seqno);
	return queue_destroy(queue) ?: rc;
}

static int fences_and_events(void)
{
	struct vb_ioc_fence_eventfd arm = { .size = sizeof(arm) };
	struct pollfd event = { .events = POLLIN };
	struct vb_fence fence = { 0 };
	uint32_t second = 0;
	__u64 seqno;
	int rc;

	event.fd = arm.fd = eventfd(0, EFD_CLOEXEC);
	if (event.fd < 0)
		return -errno;
	rc = queue_create(&fence.queue_id);
	if (!rc)
		rc = queue_create(&second);
	if (!rc)
		rc = submit(fence.queue_id, 0, NULL, &fence.seqno);
	if (!rc)
		rc = submit(second, 0, &fence, &seqno);
	if (!rc) {
		arm.queue_id = second;
		arm.seqno = seqno;
		rc = call(node, VB_IOC_FENCE_EVENTFD, &arm);
	}
	if (!rc && poll(&event, 1, 20000) != 1)
		rc = errno == ENOMEM || errno == EFAULT ? -errno : -ETIME;
	if (second)
		rc = queue_destroy(second) ?: rc;
	if (fence.queue_id)
		rc = queue_destroy(fence.queue_id) ?: rc;
	close(event.fd);
	return rc;
}

static int schedule(void)
{
	struct vb_range range = { .bytes = 1 };
	struct vb_ioc_schedule cmd = {
		.size = sizeof(cmd), .count = 1, .ranges_address = (uintptr_t)&range,
	};
	uint64_t counters[VB_COUNT_COUNT];
	struct vb_ioc_stats stats = {
		.size = sizeof(stats), .count = VB_COUNT_COUNT, .address = (uintptr_t)counters,
	};
	struct vb_ioc_limit limit = { .size = sizeof(limit), .limit = VB_LIMIT_HOST_MAX };
	int rc = bo_create(node, 1, &range.bo_id);

	if (rc)
		return rc;
	rc = call(node, VB_IOC_SCHEDULE, &cmd);
	if (!rc)
		rc = call(node, VB_IOC_STATS, &stats);
	if (!rc)
		rc = call(node, VB_IOC_LIMIT, &limit);
	return bo_destroy(node, range.bo_id) ?: rc;
}

/* ---- sequences of an executor ---- */

struct executor {
	int fd;
	uint32_t generation, host, nvme;
	void *submit, *memory;
};

static int arena(struct executor *x, uint32_t tier, uint32_t *out)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = tier, .numa_node = -1, .slots = 4,
	};
	int rc = call(x->fd, VB_IOC_ARENA_CREATE, &cmd);

	*out = cmd.out_arena;
	return rc;
}

static int region(struct executor *x)
{
	struct vb_ioc_region cmd = { .size = sizeof(cmd), .arena = x->host, .slots = 4 };
	int rc = call(x->fd, VB_IOC_REGION_ADD, &cmd);

	if (!rc)
		rc = map(x->fd, cmd.out_mmap_offset, 4 * rig.chunk_bytes, PROT_READ | PROT_WRITE,
			 &x->memory);
	return rc ? rc : touch(x->memory, 4 * rig.chunk_bytes, true);
}

static void detach(struct executor *x)
{
	if (x->memory && x->memory != MAP_FAILED)
		munmap(x->memory, 4 * rig.chunk_bytes);
	if (x->submit && x->submit != MAP_FAILED)
		munmap(x->submit, VB_MMAP_SUBMIT_BYTES);
	close(x->fd);
}

/* An executor that was there before may not have been released yet. */
static int open_executor(void)
{
	int fd;

	for (int tries = 0; tries < 2000; tries++) {
		fd = open("/dev/vblackwell-exec", O_RDWR | O_CLOEXEC);
		if (fd >= 0 || errno != EBUSY)
			break;
		usleep(1000);
	}
	return fd < 0 ? -errno : fd;
}

static int attach(struct executor *x)
{
	struct vb_ioc_exec_attach cmd = { .size = sizeof(cmd) };
	int rc;

	*x = (struct executor){ .fd = open_executor() };
	if (x->fd < 0)
		return x->fd;
	rc = call(x->fd, VB_IOC_EXEC_ATTACH, &cmd);
	x->generation = cmd.out_generation;
	if (!rc)
		rc = map(x->fd, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, PROT_READ, &x->submit);
	if (!rc)
		rc = arena(x, VB_TIER_HOST, &x->host);
	if (!rc)
		rc = arena(x, VB_TIER_NVME, &x->nvme);
	if (!rc)
		rc = region(x);
	if (rc)
		detach(x);
	return rc;
}

static int attach_and_detach(void)
{
	struct executor x;
	int rc = attach(&x);

	if (!rc)
		detach(&x);
	return rc;
}

static int move(struct executor *x, uint32_t id, uint8_t op, uint8_t from, uint8_t to, uint32_t in)
{
	struct vb_move mv = {
		.object = id, .op = op, .from = from, .to = to, .arena = in, .slot = VB_SLOT_ANY,
	};
	struct vb_ioc_move cmd = {
		.size = sizeof(cmd), .count = 1, .address = (uintptr_t)&mv,
		.generation = x->generation,
	};
	int rc = call(x->fd, VB_IOC_MOVE, &cmd);

	return rc ? rc : mv.out_status;
}

/* One page-in by hand: everything that an executor asks for. */
static int serve_one(struct executor *x)
{
	struct vb_ioc_fetch req = { .size = sizeof(req), .flags = VB_FETCH_F_NOWAIT };
	struct vb_ioc_commit done = { .size = sizeof(done), .generation = x->generation };
	struct vb_ioc_object_open open = { .size = sizeof(open), .out_fd = -1 };
	struct vb_ioc_exec_stats stats = { .size = sizeof(stats) };
	void *table;
	int rc = call(x->fd, VB_IOC_FETCH, &req);

	if (rc)
		return rc;
	open.object = req.out_object;
	rc = call(x->fd, VB_IOC_OBJECT_OPEN, &open);
	if (!rc)
		rc = map(x->fd, open.out_table_mmap, 4096, PROT_READ, &table);
	if (!rc) {
		rc = touch(table, 4096, false);
		munmap(table, 4096);
	}
	if (!rc)
		rc = move(x, req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST, x->host);
	if (!rc)
		rc = move(x, req.out_object, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST, x->host);
	if (!rc)
		rc = move(x, req.out_object, VB_MOVE_WRITE, VB_TIER_HOST, VB_TIER_HOST, x->host);
	if (!rc)
		rc = move(x, req.out_object, VB_MOVE_BEGIN, VB_TIER_HOST, VB_TIER_NVME, x->nvme);
	if (!rc)
		rc = call(x->fd, VB_IOC_EXEC_STATS, &stats);
	done.tag = req.out_tag;
	return call_twice(x->fd, VB_IOC_COMMIT, &done, -ENOENT) ?: rc;
}

/* The move to NVMe still runs when the executor leaves, and the content is lost. */
static int serve_by_hand(void)
{
	struct executor x;
	uint32_t id;
	int rc = attach(&x);

	if (rc)
		return rc;
	rc = bo_create(node, rig.chunk_bytes, &id);
	if (!rc) {
		rc = advise(id, VB_ADVISE_PREFETCH, 1);
		if (!rc)
			rc = serve_one(&x);
		rc = bo_destroy(node, id) ?: rc;
	}
	detach(&x);
	return rc;
}

/* ---- the loop ---- */

static void read_counters(uint64_t *used, uint64_t *reserved)
{
	*used = *reserved = 0;
	for (uint32_t i = 0;; i++) {
		struct vb_ioc_query_tier q = { .size = sizeof(q), .index = i };

		if (call(node, VB_IOC_QUERY_TIER, &q))
			return;
		*used += q.out_used_bytes + q.out_pinned_bytes;
		*reserved += q.out_reserved_bytes;
	}
}

/* The executor forgets in its own time. */
static void assert_counters_at_start(uint32_t n)
{
	uint64_t used, reserved;

	for (int i = 0; i < 5000; i++) {
		read_counters(&used, &reserved);
		if (!used && !reserved)
			return;
		usleep(1000);
	}
	fprintf(stderr, "# n = %u: %llu bytes used, %llu reserved\n", n, (unsigned long long)used,
		(unsigned long long)reserved);
	fail();
}

static void fail_each(const char *name, int (*sequence)(void))
{
	uint32_t n, faults_seen = 0, passed = 0;
	struct sigaction act = { .sa_handler = on_bus };
	bool happened;
	int rc;

	sigaction(SIGBUS, &act, NULL);
	assert_rc(sequence(), 0);
	for (n = 1; n < N_MAX; n++) {
		inject(n);
		rc = sequence();
		happened = injected();
		if (rc && rc != -ENOMEM && rc != -EFAULT) {
			fprintf(stderr, "# %s, n = %u: %s\n", name, n, strerror(-rc));
			fail();
		}
		assert_counters_at_start(n);
		if (!happened)
			break;
		faults_seen += rc != 0;
		passed += !rc;
	}
	assert_rc(rc, 0);
	assert_in_range(n, 2, N_MAX - 1);
	printf("# %s: %u failures, %u of them unnoticed\n", name, faults_seen + passed, passed);
}

#define SEQUENCE(name)							\
	static void name##_fails_cleanly(void **state)			\
	{								\
		(void)state;						\
		fail_each(#name, name);					\
	}

SEQUENCE(open_and_close)
SEQUENCE(objects_left_to_close)
SEQUENCE(object)
SEQUENCE(file_object)
SEQUENCE(shared_store)
SEQUENCE(derived_object)
SEQUENCE(write_and_read)
SEQUENCE(bo_map_and_unmap)
SEQUENCE(faults)
SEQUENCE(filled_faults)
SEQUENCE(pin_and_unpin)
SEQUENCE(prefetch_and_seal)
SEQUENCE(submission)
SEQUENCE(many_submissions)
SEQUENCE(fences_and_events)
SEQUENCE(schedule)
SEQUENCE(attach_and_detach)
SEQUENCE(serve_by_hand)

static int setup(void **state)
{
	int rc = selftest_setup(state);

	node = open("/dev/vblackwell", O_RDWR | O_CLOEXEC);
	file_fd = rig_file(&rig, 20000);
	disk_fd = open("/dev/vb2", O_RDONLY | O_CLOEXEC);
	return rc || node < 0 || file_fd < 0 || disk_fd < 0;
}

static int teardown(void **state)
{
	close(disk_fd);
	close(file_fd);
	close(node);
	return selftest_teardown(state);
}

/* With an executor that is there and does nothing. */
static struct rig_exec idle;

static int setup_idle(void **state)
{
	return setup(state) || rig_exec_open(&rig, &idle, HOST_SLOTS);
}

static int teardown_idle(void **state)
{
	rig_exec_close(&idle);
	return teardown(state);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name##_fails_cleanly, setup, teardown)

int main(void)
{
	const struct CMUnitTest served[] = {
		CASE(open_and_close),
		CASE(objects_left_to_close),
		CASE(object),
		CASE(file_object),
		CASE(shared_store),
		CASE(derived_object),
		CASE(write_and_read),
		CASE(bo_map_and_unmap),
		CASE(faults),
		CASE(pin_and_unpin),
		CASE(prefetch_and_seal),
		CASE(submission),
		CASE(fences_and_events),
		CASE(schedule),
	};
	const struct CMUnitTest filled[] = {
		CASE(filled_faults),
	};
	const struct CMUnitTest by_hand[] = {
		CASE(attach_and_detach),
		CASE(serve_by_hand),
	};
	const struct CMUnitTest unserved[] = {
		cmocka_unit_test_setup_teardown(many_submissions_fails_cleanly, setup_idle,
						teardown_idle),
	};
	int failed = 0;

	if (inject_setup())
		return 1;
	failed += SELFTEST_RUN("fail-nth", served, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("fail-nth, the library's executor", filled, RIG_REAL, HOST_SLOTS,
			       NVME_SLOTS);
	failed += SELFTEST_RUN("fail-nth, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("fail-nth, idle executor", unserved, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}
