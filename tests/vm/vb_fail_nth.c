// SPDX-License-Identifier: MIT
/*
 * Sequences that work, in which the Nth thing that can fail does: an allocation of the
 * kernel, or a copy from or to the caller.  N counts from 1 until the sequence passes.
 *
 * Each failure is told by an errno that says what was lacking, undoes what was done, and
 * leaves the device as it was: nothing used, nothing reserved, nothing charged.  What only a
 * leak detector sees is looked for by the suite afterwards.
 */
#include "selftests/selftest.h"
#include "vm/fuse_server.h"
#include "vm/inject.h"
#include "vm/machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "common/ring.h"

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

static struct vb_ioc_submit submission_of(uint32_t queue, const struct vb_bo_ref *ref)
{
	static const struct {
		struct vb_stream_header h;
		struct vb_cmd_header nop;
	} stream = {
		{ .magic = VB_STREAM_MAGIC, .version = VB_STREAM_VERSION, .bytes = sizeof(stream),
		  .commands = 1 },
		{ .opcode = VB_CMD_NOP, .bytes = sizeof(struct vb_cmd_header) },
	};

	return (struct vb_ioc_submit){
		.size = sizeof(struct vb_ioc_submit), .queue_id = queue,
		.stream_bytes = sizeof(stream), .stream_address = (uintptr_t)&stream,
		.bos_address = (uintptr_t)ref, .bo_count = ref->bo_id != 0,
	};
}

static int submit(uint32_t queue, uint32_t bo, const struct vb_fence *fence, __u64 *seqno)
{
	struct vb_bo_ref ref = { .bo_id = bo, .access = VB_ACCESS_READ };
	struct vb_ioc_submit cmd = submission_of(queue, &ref);
	int rc;

	cmd.fences_address = (uintptr_t)fence;
	cmd.fence_count = fence != NULL;
	rc = call(node, VB_IOC_SUBMIT, &cmd);
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

/* ---- by io_uring ---- */

static struct ring ring;

/* To the one command there is.  What fails on its way there or back is done again. */
static int ring_result(void)
{
	struct __kernel_timespec patience = { .tv_sec = 20 };
	struct io_uring_cqe *cqe;
	int rc = -EFAULT;

	for (int tries = 0; io_uring_sq_ready(&ring.io) && tries < 2; tries++)
		io_uring_submit(&ring.io);
	for (int tries = 0; (rc == -EFAULT || rc == -ENOMEM) && tries < 2; tries++)
		rc = io_uring_wait_cqe_timeout(&ring.io, &cqe, &patience);
	if (rc)
		return rc;
	rc = cqe->res;
	io_uring_cqe_seen(&ring.io, cqe);
	return rc;
}

/* Done, and over, when it answers. */
static int submit_by_ring(uint32_t queue, uint32_t bo, __u64 *seqno)
{
	struct vb_bo_ref ref = { .bo_id = bo, .access = VB_ACCESS_READ };
	struct vb_ioc_submit cmd = submission_of(queue, &ref);
	int rc;

	ring_add_submit(&ring, &cmd, 1);
	rc = ring_result();
	*seqno = cmd.out_seqno;
	return rc;
}

static int wait_by_ring(uint32_t queue, uint64_t seqno)
{
	ring_add_wait(&ring, queue, seqno, 2);
	return ring_result();
}

/*
 * A submission that failed is not there: the next one has its number.  But when it has been made
 * and the answer, which could be written before, cannot be any more.
 */
static bool is_numbered(int by_ring, uint64_t first, uint64_t second)
{
	if (!by_ring)
		return first == 1 && second == 2;
	return first == 0 && (second == 1 || (second == 2 && by_ring == -EFAULT));
}

static int submit_both_ways(uint32_t queue, uint32_t bo)
{
	__u64 first, second;
	int by_ring = submit_by_ring(queue, bo, &first);
	int rc = submit(queue, bo, NULL, &second);

	if (!rc && !is_numbered(by_ring, first, second))
		return -EPROTO;
	if (!rc)
		rc = wait_by_ring(queue, second);
	return by_ring ? by_ring : rc;
}

static int ring_submission(void)
{
	uint32_t queue, bo;
	int rc = queue_create(&queue);

	if (rc)
		return rc;
	rc = bo_create(node, rig.chunk_bytes, &bo);
	if (!rc) {
		rc = submit_both_ways(queue, bo);
		rc = bo_destroy(node, bo) ?: rc;
	}
	return queue_destroy(queue) ?: rc;
}

/* The thread of ours that the kernel has made for commands that may sleep; 0: none. */
static pid_t ring_worker(void)
{
	char path[300], name[16] = "";
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	pid_t found = 0;
	FILE *f;

	assert_non_null(d);
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (f && fgets(name, sizeof(name), f) && !strncmp(name, "iou-wrk", 7))
			found = atoi(e->d_name);
		if (f)
			fclose(f);
	}
	closedir(d);
	return found;
}

/* ---- dma-bufs ---- */

#define DMABUF_BYTES	(8u * 4096)

static int foreign_fd = -1;	/* a dma-buf of udmabuf, or -1: this kernel has none */

static int export(uint32_t id, int *out)
{
	struct vb_ioc_bo_export cmd = {
		.size = sizeof(cmd), .bo_id = id, .flags = O_CLOEXEC | O_RDWR, .out_fd = -1,
	};
	int rc = call(node, VB_IOC_BO_EXPORT, &cmd);

	*out = cmd.out_fd;
	return rc;
}

static int import(int fd, int dmabuf, uint32_t *id)
{
	struct vb_ioc_bo_import cmd = { .size = sizeof(cmd), .fd = dmabuf };
	int rc = call(fd, VB_IOC_BO_IMPORT, &cmd);

	*id = cmd.out_bo_id;
	return rc;
}

static int map_and_write(int fd, uint64_t offset, uint64_t bytes)
{
	void *p;
	int rc = map(fd, offset, bytes, PROT_READ | PROT_WRITE, &p);

	if (!rc) {
		rc = touch(p, bytes, true);
		munmap(p, bytes);
	}
	return rc;
}

/* By who made it, and by another, who also maps what he got. */
static int import_own(uint32_t id, int other, int dmabuf)
{
	uint32_t again, theirs;
	int rc = import(node, dmabuf, &again);

	if (rc || again != id)
		return rc ? rc : -EPROTO;
	rc = import(other, dmabuf, &theirs);
	if (rc)
		return rc;
	rc = map_and_write(dmabuf, 0, 2 * rig.chunk_bytes);
	if (!rc)
		rc = map_and_write(other, (uint64_t)theirs << 46, 2 * rig.chunk_bytes);
	return bo_destroy(other, theirs) ?: rc;
}

static int exported_object(void)
{
	int other = open("/dev/vblackwell", O_RDWR | O_CLOEXEC), dmabuf, rc;
	uint32_t id;

	if (other < 0)
		return -errno;
	rc = bo_create(node, 2 * rig.chunk_bytes, &id);
	if (!rc) {
		rc = export(id, &dmabuf);
		if (!rc) {
			rc = import_own(id, other, dmabuf);
			close(dmabuf);
		}
		rc = bo_destroy(node, id) ?: rc;
	}
	close(other);
	return rc;
}

static int use_import(uint32_t id)
{
	static char bytes[DMABUF_BYTES];
	int again, rc = map_and_write(node, (uint64_t)id << 46, sizeof(bytes));

	if (!rc)
		rc = bo_rw(VB_IOC_BO_WRITE, id, bytes, sizeof(bytes));
	if (!rc)
		rc = bo_rw(VB_IOC_BO_READ, id, bytes, sizeof(bytes));
	if (!rc)
		rc = export(id, &again);
	if (!rc)
		close(again);
	return rc;
}

static int imported_object(void)
{
	uint32_t id;
	int rc = import(node, foreign_fd, &id);

	if (rc)
		return rc;
	rc = use_import(id);
	return bo_destroy(node, id) ?: rc;
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

/* ---- several at once ---- */

#define FIRST	3u	/* submissions, each on a queue of its own: all can be fetched */
#define MORE	2u
#define ROOM	8u

static struct vb_ioc_fetch got[ROOM];

/* Counts as many commands as it commits: those in @got. */
static int exchange(const struct executor *x, uint32_t commits, uint32_t room,
		    struct vb_ioc_exchange *e)
{
	uint64_t counters[VB_COUNT_COMMANDS + 1] = { [VB_COUNT_COMMANDS] = commits };
	struct vb_ioc_exec_stats stats = {
		.size = sizeof(stats), .client = got[0].out_client,
		.count = VB_COUNT_COMMANDS + 1, .address = (uintptr_t)counters,
	};
	struct vb_ioc_commit done[ROOM];

	for (uint32_t i = 0; i < commits; i++)
		done[i] = (struct vb_ioc_commit){
			.size = sizeof(done[i]), .generation = x->generation,
			.tag = got[i].out_tag, .bad_command = ~0u,
		};
	*e = (struct vb_ioc_exchange){
		.size = sizeof(*e), .flags = VB_FETCH_F_NOWAIT,
		.commits_address = (uintptr_t)done, .commit_count = commits,
		.fetches_address = (uintptr_t)got, .fetch_count = room,
		.stats_address = commits ? (uintptr_t)&stats : 0,
	};
	return call(x->fd, VB_IOC_EXCHANGE, e);
}

static int submit_each(const uint32_t *queue, uint32_t count)
{
	__u64 seqno;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < count; i++)
		rc = submit(queue[i], 0, NULL, &seqno);
	return rc;
}

/* What was said to be committed is over, and well, whatever became of the rest. */
static int are_over(const uint32_t *queue, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < count; i++)
		rc = wait_for(queue[i], 1);
	return rc;
}

static int exchange_expecting(const struct executor *x, const uint32_t *queue, uint32_t commits,
			      uint32_t room, uint32_t fetched)
{
	struct vb_ioc_exchange e;
	int rc = exchange(x, commits, room, &e), over;

	over = are_over(queue, e.out_committed);
	if (!rc && (e.out_committed != commits || e.out_fetched != fetched))
		return -EPROTO;
	return rc ? rc : over;
}

static int exchange_all(const struct executor *x, const uint32_t *queue)
{
	int rc = submit_each(queue, FIRST);

	if (!rc)
		rc = exchange_expecting(x, queue, 0, ROOM, FIRST);
	if (!rc)
		rc = submit_each(queue + FIRST, MORE);
	if (!rc)
		rc = exchange_expecting(x, queue, FIRST, ROOM, MORE);
	return rc ? rc : exchange_expecting(x, queue + FIRST, MORE, 0, 0);
}

static int commands_counted(uint64_t *out)
{
	uint64_t counters[VB_COUNT_COMMANDS + 1];
	struct vb_ioc_stats cmd = {
		.size = sizeof(cmd), .count = VB_COUNT_COMMANDS + 1, .address = (uintptr_t)counters,
	};
	int rc = call_twice(node, VB_IOC_STATS, &cmd, 0);

	*out = counters[VB_COUNT_COMMANDS];
	return rc;
}

/* The counters of a call count whole, once, or not at all. */
static int exchange_and_count(const struct executor *x, const uint32_t *queue)
{
	uint64_t before, after;
	int rc = commands_counted(&before), counted;

	if (rc)
		return rc;
	rc = exchange_all(x, queue);
	counted = commands_counted(&after);
	if (counted)
		return rc ? rc : counted;
	after -= before;
	if (after == FIRST + MORE || (rc && (!after || after == FIRST)))
		return rc;
	return -EPROTO;
}

/* What an executor that is not told of its work had in its hands ends with it. */
static int exchange_by_hand(void)
{
	uint32_t queue[FIRST + MORE], queues = 0;
	struct executor x;
	int rc = attach(&x);

	if (rc)
		return rc;
	while (!rc && queues < FIRST + MORE) {
		rc = queue_create(&queue[queues]);
		queues += !rc;
	}
	if (!rc)
		rc = exchange_and_count(&x, queue);
	detach(&x);
	while (queues)
		rc = queue_destroy(queue[--queues]) ?: rc;
	return rc;
}

/* ---- a file whose server may be silent ---- */

#define MOUNTED		"/tmp/vb-nth"
#define FILE_CHUNKS	5u	/* read in two pieces */
#define SERVER_SECONDS	500u

static int fuse_fd = -1;

static int read_whole(int fd, uint8_t *to, uint64_t bytes)
{
	ssize_t rc;

	/* What is short has an error behind it. */
	for (uint64_t at = 0; at < bytes; at += (uint64_t)rc) {
		rc = pread(fd, to + at, bytes - at, (off_t)at);
		if (rc <= 0)
			return rc ? -errno : -EPROTO;
	}
	return 0;
}

static int read_shown(const struct executor *x, uint32_t object, uint8_t *to, uint64_t bytes)
{
	struct vb_ioc_object_open open = { .size = sizeof(open), .object = object, .out_fd = -1 };
	int rc = call(x->fd, VB_IOC_OBJECT_OPEN, &open);

	if (rc)
		return rc;
	rc = read_whole(open.out_fd, to, bytes);
	close(open.out_fd);
	for (uint64_t i = 0; !rc && i < bytes; i++)
		if (to[i] != rig_pattern(i))
			rc = -EPROTO;
	return rc;
}

/* The page-in of its first chunk, by an executor that has read all of it. */
static int serve_file(struct executor *x)
{
	static uint8_t content[FILE_CHUNKS * SMALL_CHUNK];
	struct vb_ioc_fetch req = { .size = sizeof(req), .flags = VB_FETCH_F_NOWAIT };
	struct vb_ioc_commit done = { .size = sizeof(done), .generation = x->generation };
	struct vb_move mv = {
		.op = VB_MOVE_BEGIN, .from = VB_TIER_SOURCE, .to = VB_TIER_HOST, .arena = x->host,
		.slot = VB_SLOT_ANY,
	};
	struct vb_ioc_move moves = {
		.size = sizeof(moves), .count = 1, .address = (uintptr_t)&mv,
		.generation = x->generation,
	};
	int rc = call(x->fd, VB_IOC_FETCH, &req);

	if (rc)
		return rc;
	rc = read_shown(x, req.out_object, content, sizeof(content));
	mv.object = req.out_object;
	if (!rc)
		rc = call(x->fd, VB_IOC_MOVE, &moves) ?: mv.out_status;
	if (!rc) {
		memcpy((char *)x->memory + mv.slot * rig.chunk_bytes, content, rig.chunk_bytes);
		mv.op = VB_MOVE_COMMIT;
		rc = call(x->fd, VB_IOC_MOVE, &moves) ?: mv.out_status;
	}
	done.tag = req.out_tag;
	return call_twice(x->fd, VB_IOC_COMMIT, &done, -ENOENT) ?: rc;
}

static int use_silent_file(struct executor *x, uint32_t id)
{
	uint8_t byte = 0;
	int rc = advise(id, VB_ADVISE_PREFETCH, 1);

	if (!rc)
		rc = serve_file(x);
	if (!rc)
		rc = bo_rw(VB_IOC_BO_READ, id, &byte, 1);
	return rc ? rc : byte == rig_pattern(0) ? 0 : -EPROTO;
}

static uint32_t later;		/* which fails once there is an executor; 0: none of this thread's */

/* Opened and read by threads of the module, closed by a worker of it. */
static int silent_file(void)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_FILE, .fd = fuse_fd,
		.bytes = FILE_CHUNKS * rig.chunk_bytes,
	};
	struct executor x;
	int rc = attach(&x);

	if (rc)
		return rc;
	if (later)
		inject(later);
	rc = call(node, VB_IOC_BO_CREATE, &cmd);
	if (!rc) {
		rc = use_silent_file(&x, cmd.out_bo_id);
		rc = bo_destroy(node, cmd.out_bo_id) ?: rc;
	}
	detach(&x);
	return rc;
}

/* ---- the loop ---- */

/**
 * struct state - what has to be as it was, bytes and counts
 * @used: of all tiers
 * @reserved: of these
 * @bytes: that count against what the client may have
 * @kernel_kib: kernel memory of its user
 * @submissions: of the client, in flight
 * @descriptors: that we have open
 */
struct state {
	uint64_t used, reserved, bytes, kernel_kib, submissions, descriptors;
};

static uint64_t limit_used(uint32_t limit)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = limit };

	assert_rc(call(node, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used;
}

static struct state read_state(void)
{
	struct state now = {
		.bytes = limit_used(VB_LIMIT_BYTES_MAX),
		.kernel_kib = machine_fdinfo_kib(node, "vblackwell-kernel"),
		.submissions = limit_used(VB_LIMIT_SUBMISSIONS),
	};

	for (int fd = 0; fd < 256; fd++)
		now.descriptors += fcntl(fd, F_GETFD) >= 0;
	for (uint32_t i = 0;; i++) {
		struct vb_ioc_query_tier q = { .size = sizeof(q), .index = i };

		if (call(node, VB_IOC_QUERY_TIER, &q))
			return now;
		now.used += q.out_used_bytes + q.out_pinned_bytes;
		now.reserved += q.out_reserved_bytes;
	}
}

static bool is_as(const struct state *now, const struct state *before)
{
	return !now->used && !now->reserved && !now->bytes && !now->submissions &&
	       now->kernel_kib <= before->kernel_kib && now->descriptors <= before->descriptors;
}

/* An executor forgets in its own time, one of ours with descriptors: @before may have more. */
static void assert_as_before(struct state *before, uint32_t n)
{
	struct state now = read_state();

	for (int i = 0; !is_as(&now, before) && i < 5000; i++) {
		usleep(1000);
		now = read_state();
	}
	if (is_as(&now, before)) {
		*before = now;
		return;
	}
	fprintf(stderr, "# n = %u: %llu bytes used, %llu reserved, %llu of the client, %llu "
		"submissions; %llu KiB in the kernel, %llu descriptors; before %llu, %llu\n", n,
		(unsigned long long)now.used, (unsigned long long)now.reserved,
		(unsigned long long)now.bytes, (unsigned long long)now.submissions,
		(unsigned long long)now.kernel_kib, (unsigned long long)now.descriptors,
		(unsigned long long)before->kernel_kib, (unsigned long long)before->descriptors);
	fail();
}

/* How the Nth is made to fail, and whether it did. */
struct way {
	void (*begin)(uint32_t n);
	bool (*happened)(void);
};

static const struct way in_thread = { inject, injected };

static void fail_each_by(const struct way *way, const char *name, int (*sequence)(void))
{
	uint32_t n, faults_seen = 0, passed = 0;
	struct sigaction act = { .sa_handler = on_bus };
	struct state before;
	bool happened;
	int rc;

	sigaction(SIGBUS, &act, NULL);
	assert_rc(sequence(), 0);
	before = read_state();
	for (n = 1; n < N_MAX; n++) {
		way->begin(n);
		rc = sequence();
		happened = way->happened();
		if (rc && rc != -ENOMEM && rc != -EFAULT) {
			fprintf(stderr, "# %s, n = %u: %s\n", name, n, strerror(-rc));
			fail();
		}
		assert_as_before(&before, n);
		if (!happened)
			break;
		faults_seen += rc != 0;
		passed += !rc;
	}
	assert_rc(rc, 0);
	assert_in_range(n, 2, N_MAX - 1);
	printf("# %s: %u failures, %u of them unnoticed\n", name, faults_seen + passed, passed);
}

static void fail_each(const char *name, int (*sequence)(void))
{
	fail_each_by(&in_thread, name, sequence);
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
SEQUENCE(exchange_by_hand)
SEQUENCE(ring_submission)
SEQUENCE(exported_object)

static int setup(void **state)
{
	int rc = selftest_setup(state);

	inject_in(0);
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

/* ---- with a ring ---- */

static int setup_ring(void **state)
{
	unsigned int workers[2] = { 1, 1 };	/* so that it is always the same */

	if (setup(state) || ring_open(&ring, rig.client, 8, 0))
		return -1;
	ring.fd = node;
	return io_uring_register_iowq_max_workers(&ring.io, workers);
}

static int teardown_ring(void **state)
{
	ring_close(&ring);
	return teardown(state);
}

/* A submission is copied, and made, by a thread of its own. */
static void worker_of_ring_submission_fails_cleanly(void **state)
{
	(void)state;
	assert_rc(ring_submission(), 0);
	assert_rc(inject_in(ring_worker()), 0);
	fail_each("worker of ring_submission", ring_submission);
}

/* ---- with a FUSE server ---- */

/* False: this kernel has none. */
static bool open_fuse(void)
{
	const struct fuse_server server = {
		.mountpoint = MOUNTED, .bytes = FILE_CHUNKS * SMALL_CHUNK, .byte = rig_pattern,
		.seconds = SERVER_SECONDS,
	};
	const char *why = fuse_server_start(&server);

	if (why) {
		fprintf(stderr, "SKIP: silent_file: %s\n", why);
		return false;
	}
	fuse_fd = open(MOUNTED "/file", O_RDONLY | O_CLOEXEC);
	assert_true(fuse_fd >= 0);
	return true;
}

static int teardown_fuse(void **state)
{
	if (fuse_fd >= 0)
		close(fuse_fd);
	fuse_fd = -1;
	fuse_server_end();
	return teardown(state);
}

static void inject_later(uint32_t n)
{
	later = n;
}

static bool injected_later(void)
{
	later = 0;
	return injected();
}

/* That it attaches is another sequence's. */
static void silent_file_fails_cleanly(void **state)
{
	static const struct way with_executor = { inject_later, injected_later };

	(void)state;
	if (!open_fuse())
		skip();
	fail_each_by(&with_executor, "silent_file", silent_file);
}

static void slab_fails(uint32_t n)
{
	inject_threads("failslab", n);
}

static void pages_fail(uint32_t n)
{
	inject_threads("fail_page_alloc", n);
}

static void threads_of_silent_file_fail_cleanly(void **state)
{
	static const struct way by_slab = { slab_fails, injected_threads };
	static const struct way by_pages = { pages_fail, injected_threads };

	(void)state;
	if (!open_fuse())
		skip();
	assert_rc(inject_threads_setup(), 0);
	fail_each_by(&by_slab, "threads of silent_file, memory", silent_file);
	fail_each_by(&by_pages, "threads of silent_file, pages", silent_file);
}

/* ---- with a dma-buf of others ---- */

static int udmabuf(void)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = DMABUF_BYTES };
	int of = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), memory, fd;

	if (of < 0)
		return -1;
	memory = memfd_create("fail-nth", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	assert_int_equal(ftruncate(memory, DMABUF_BYTES), 0);
	assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	create.memfd = (uint32_t)memory;
	fd = ioctl(of, UDMABUF_CREATE, &create);
	assert_true(fd >= 0);
	close(memory);
	close(of);
	return fd;
}

/* To dma-bufs of anybody; ours are attached to by nobody here. */
static uint32_t devices_attached(void)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	uint32_t count = 0, total;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "devices attached") && sscanf(line, "Total %u", &total) == 1)
			count += total;
	fclose(f);
	return count;
}

/* The kernel warns of an exporter that has no memory for its mapping. */
static void imported_object_fails_cleanly(void **state)
{
	(void)state;
	foreign_fd = udmabuf();
	if (foreign_fd < 0) {
		fprintf(stderr, "SKIP: %s: this kernel has no udmabuf\n", __func__);
		skip();
	}
	assert_rc(inject_except("dma_buf_vmap"), 0);
	fail_each("imported_object", imported_object);
	assert_rc(inject_except(NULL), 0);
	for (int i = 0; devices_attached() && i < 5000; i++)
		usleep(1000);
	assert_int_equal(devices_attached(), 0);
	close(foreign_fd);
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
		CASE(exported_object),
		CASE(imported_object),
	};
	const struct CMUnitTest ringed[] = {
		cmocka_unit_test_setup_teardown(ring_submission_fails_cleanly, setup_ring,
						teardown_ring),
		cmocka_unit_test_setup_teardown(worker_of_ring_submission_fails_cleanly,
						setup_ring, teardown_ring),
	};
	const struct CMUnitTest filled[] = {
		CASE(filled_faults),
	};
	const struct CMUnitTest by_hand[] = {
		CASE(attach_and_detach),
		CASE(serve_by_hand),
		CASE(exchange_by_hand),
		cmocka_unit_test_setup_teardown(silent_file_fails_cleanly, setup, teardown_fuse),
		cmocka_unit_test_setup_teardown(threads_of_silent_file_fail_cleanly, setup,
						teardown_fuse),
	};
	const struct CMUnitTest unserved[] = {
		cmocka_unit_test_setup_teardown(many_submissions_fails_cleanly, setup_idle,
						teardown_idle),
	};
	int failed = 0;

	if (inject_setup())
		return 1;
	failed += SELFTEST_RUN("fail-nth", served, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("fail-nth, io_uring", ringed, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("fail-nth, the library's executor", filled, RIG_REAL, HOST_SLOTS,
			       NVME_SLOTS);
	failed += SELFTEST_RUN("fail-nth, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("fail-nth, idle executor", unserved, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}
