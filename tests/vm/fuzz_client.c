// SPDX-License-Identifier: MIT
/* A client: threads that share descriptors, handles and memory, and make requests. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define THREADS		3u
#define BOS		32u
#define QUEUES		6u
#define BUFFER_BYTES	(256u << 10)
#define FOREIGN_BYTES	(64u << 10)	/* of a dma-buf of others */

/**
 * struct opening - an open client node; its numbers may be out of date
 * @bo: handles
 * @bytes: length of each
 * @queue: handles
 * @seqno: of the last submission to each
 * @memory: mappings of its objects
 */
struct opening {
	int node;
	atomic_uint bo[BOS], queue[QUEUES];
	atomic_ulong bytes[BOS];
	atomic_ulong seqno[QUEUES];
	struct memory memory;
};

/**
 * struct client - what its threads share
 * @opening: content of the first is checked; into memory of the second the kernel is
 *	told to write anything
 * @event: eventfd
 * @cover: of each thread
 */
struct client {
	uint32_t who;
	struct fuzz_cover cover[THREADS];
	struct opening opening[2];
	int event;
	uint64_t seed;
};

/* A submission, and what it names. */
struct submission {
	struct vb_ioc_submit cmd;
	struct vb_bo_ref refs[16];
	struct vb_fence fences[4];
};

/*
 * A thread's own; @o changes with each step, @bytes with each object.  What @later has was
 * given to the ring, and is changed all the same.
 */
struct actor {
	struct fuzz_ring ring;
	struct submission later;
	struct client *c;
	struct opening *o;
	uint64_t bytes;
	struct chance chance;
	uint64_t *buffer;
};

/* ---- what to put into fields ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A handle; its length, as it was, is in @a. */
static uint32_t any_bo(struct actor *a)
{
	uint32_t i = 0, id = 0;

	a->bytes = fuzz->chunk_bytes;
	if (one_in(&a->chance, 40))
		return (uint32_t)any_size(&a->chance);
	if (one_in(&a->chance, 40))
		return 1 + (uint32_t)below(&a->chance, 64);
	for (int tries = 0; !id && tries < 8; tries++) {
		i = (uint32_t)below(&a->chance, BOS);
		id = atomic_load(&a->o->bo[i]);
	}
	a->bytes = atomic_load(&a->o->bytes[i]);
	return id;
}

static uint32_t any_queue(struct actor *a, uint32_t *index)
{
	*index = (uint32_t)below(&a->chance, QUEUES);
	if (one_in(&a->chance, 30))
		return (uint32_t)any_size(&a->chance);
	return atomic_load(&a->o->queue[*index]);
}

static uint64_t any_seqno(struct actor *a, uint32_t queue)
{
	uint64_t last = atomic_load(&a->o->seqno[queue]);

	switch (below(&a->chance, 8)) {
	case 0:
		return any_size(&a->chance);
	case 1:
		return last + 1;
	case 2:
		return last ? 1 + below(&a->chance, last) : 0;
	default:
		return last;
	}
}

/* A few milliseconds from now, long ago, or never. */
static uint64_t any_deadline(struct actor *a)
{
	switch (below(&a->chance, 8)) {
	case 0:
		return 0;
	case 1:
		return any_size(&a->chance);
	default:
		return now_ns() + below(&a->chance, 100000000);
	}
}

/* In the object that was chosen last; mostly. */
static uint64_t any_offset(struct actor *a)
{
	if (one_in(&a->chance, 3))
		return 0;
	if (one_in(&a->chance, 20) || !a->bytes)
		return any_size(&a->chance);
	return below(&a->chance, a->bytes) & ~7ull;
}

/* From there on. */
static uint64_t any_bytes(struct actor *a, uint64_t offset)
{
	if (one_in(&a->chance, 20) || offset >= a->bytes)
		return any_size(&a->chance);
	return one_in(&a->chance, 3) ? a->bytes - offset : 1 + below(&a->chance, a->bytes - offset);
}

static struct memory *dirty(struct actor *a)
{
	return &a->c->opening[1].memory;
}

/* An address of a payload: its own buffer, or one that may well fault. */
static uint64_t any_address(struct actor *a, const void *good)
{
	return (uintptr_t)(one_in(&a->chance, 12) ? memory_any(dirty(a), &a->chance) : good);
}

/* The same for content: words lie at multiples of 8, and stay with the opening. */
static uint64_t content_address(struct actor *a)
{
	if (one_in(&a->chance, 6))
		return (uintptr_t)memory_any(&a->o->memory, &a->chance) & ~7ull;
	return (uintptr_t)a->buffer;
}

/* ---- nearly right ---- */

/* A byte of a structure that is not part of an address: those are chosen with care. */
static uint8_t *any_field(struct chance *c, uint8_t *cmd, uint32_t bytes)
{
	uint32_t at = 4 + (uint32_t)below(c, bytes - 4);
	uint64_t word = 0;

	memcpy(&word, cmd + at / 8 * 8, sizeof(word));
	return word >> 32 ? cmd + 4 : cmd + at;
}

/*
 * Make a request, now and then with a structure of another length, with bits turned,
 * from memory that may fault, or under another number.
 */
static int call(struct actor *a, int node, unsigned long request, void *cmd, uint32_t bytes)
{
	struct chance *c = &a->chance;
	uint8_t longer[512] = "";
	void *there;

	if (!one_in(c, 8))
		return fuzz_call(node, request, cmd);
	memcpy(longer, cmd, bytes);
	switch (below(c, 6)) {
	case 0:
		*(uint32_t *)longer = (uint32_t)below(c, sizeof(longer));
		break;
	case 1:
		*(uint32_t *)longer = (uint32_t)any_size(c);
		break;
	case 2:
		*any_field(c, longer, bytes) ^= (uint8_t)(1 << below(c, 8));
		break;
	case 3:
		*any_field(c, longer, bytes) = (uint8_t)chance(c);
		break;
	case 4:
		there = memory_any(dirty(a), c);
		memory_put(there, cmd, bytes);
		return fuzz_call(node, request, there);
	default:
		return fuzz_call(node, request + (below(c, 5) << 16) + below(c, 3), longer);
	}
	return fuzz_call(node, request, longer);
}

#define CALL(a, node, request, cmd)	call(a, node, request, cmd, sizeof(*(cmd)))

/* ---- objects ---- */

/* Who had that place goes: else nothing fits soon. */
static void remember(struct actor *a, uint32_t id, uint64_t bytes)
{
	uint32_t i = (uint32_t)below(&a->chance, BOS);
	struct vb_ioc_bo_destroy cmd = { .size = sizeof(cmd) };

	cmd.bo_id = atomic_exchange(&a->o->bo[i], id);
	atomic_store(&a->o->bytes[i], bytes);
	if (cmd.bo_id)
		fuzz_call(a->o->node, VB_IOC_BO_DESTROY, &cmd);
}

static uint64_t object_bytes(struct actor *a)
{
	if (one_in(&a->chance, 12))
		return any_size(&a->chance);
	return 1 + below(&a->chance, (one_in(&a->chance, 4) ? 5 : 2) * (uint64_t)fuzz->chunk_bytes);
}

/* One that the executor reads, or one that the module may read by itself. */
static int any_file(struct actor *a)
{
	return one_in(&a->chance, 2) ? fuzz->file : fuzz->file_on_disk;
}

/* Who opens it may wait until its server dies, as who closes it may. */
static int open_silent(struct actor *a, struct vb_ioc_bo_create *cmd)
{
	int fd = open(FUZZ_SILENT "/file", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	cmd->fd = fd;
	cmd->file_offset = below(&a->chance, FUZZ_SILENT_BYTES / 8) * 8;
	cmd->bytes = 1 + below(&a->chance, FUZZ_SILENT_BYTES - cmd->file_offset);
	return fd;
}

static void bo_create(struct actor *a)
{
	int silent = -1;
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = object_bytes(a),
		.life = (uint16_t)below(&a->chance, 3),
	};

	if (one_in(&a->chance, 4)) {
		cmd.kind = VB_BO_FILE;
		cmd.life = VB_LIFE_VOLATILE;
		cmd.fd = one_in(&a->chance, 20) ? a->c->event : any_file(a);
		cmd.file_offset = below(&a->chance, FUZZ_FILE_BYTES / 8) * 8;
		cmd.bytes = 1 + below(&a->chance, FUZZ_FILE_BYTES - cmd.file_offset);
		silent = one_in(&a->chance, 2) ? open_silent(a, &cmd) : -1;
	}
	if (one_in(&a->chance, 30)) {
		cmd.kind = VB_BO_DERIVED;
		cmd.fd = fuzz->file;
		cmd.transform = (struct vb_transform){
			.kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_F32,
			.dst_format = (uint16_t)any_size(&a->chance),
			.rows = (uint32_t)any_size(&a->chance),
			.cols = (uint32_t)any_size(&a->chance), .stack = 1,
		};
	}
	if (!CALL(a, a->o->node, VB_IOC_BO_CREATE, &cmd))
		remember(a, cmd.out_bo_id, cmd.bytes);
	if (silent >= 0)
		close(silent);
}

static void bo_destroy(struct actor *a)
{
	struct vb_ioc_bo_destroy cmd = { .size = sizeof(cmd), .bo_id = any_bo(a) };

	CALL(a, a->o->node, VB_IOC_BO_DESTROY, &cmd);
}

static void bo_info(struct actor *a)
{
	struct vb_ioc_bo_info cmd = { .size = sizeof(cmd), .bo_id = any_bo(a) };

	CALL(a, a->o->node, VB_IOC_BO_INFO, &cmd);
}

static void bo_seal(struct actor *a)
{
	struct vb_ioc_bo_seal cmd = { .size = sizeof(cmd), .bo_id = any_bo(a) };

	if (one_in(&a->chance, 4))
		CALL(a, a->o->node, VB_IOC_BO_SEAL, &cmd);
}

static void bo_map(struct actor *a)
{
	struct vb_ioc_bo_map cmd = {
		.size = sizeof(cmd), .bo_id = any_bo(a), .offset = any_offset(a),
		.flags = 1 + (uint32_t)below(&a->chance, 3), .deadline_ns = any_deadline(a),
	};
	struct vb_ioc_bo_unmap undo = { .size = sizeof(undo), .bo_id = cmd.bo_id };

	cmd.bytes = any_bytes(a, cmd.offset);
	undo.flags = cmd.flags;
	undo.offset = cmd.offset;
	undo.bytes = cmd.bytes;
	if (CALL(a, a->o->node, VB_IOC_BO_MAP, &cmd))
		return;
	memory_map(&a->o->memory, &a->chance, a->o->node, cmd.bo_id);
	if (!one_in(&a->chance, 6))
		CALL(a, a->o->node, VB_IOC_BO_UNMAP, &undo);
}

static void fill_buffer(struct actor *a, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes / 8; i++)
		a->buffer[i] = fuzz_word(a->c->who);
}

static void bo_write(struct actor *a)
{
	struct vb_ioc_bo_rw cmd = {
		.size = sizeof(cmd), .bo_id = any_bo(a), .offset = any_offset(a) & ~7ull,
		.deadline_ns = any_deadline(a), .address = content_address(a),
	};

	cmd.bytes = any_bytes(a, cmd.offset) & ~7ull;
	if (cmd.bytes > BUFFER_BYTES)
		cmd.bytes = BUFFER_BYTES;
	fill_buffer(a, cmd.bytes);
	fuzz_call(a->o->node, VB_IOC_BO_WRITE, &cmd);
}

/* What is not read into keeps our words. */
static void bo_read(struct actor *a)
{
	struct vb_ioc_bo_rw cmd = {
		.size = sizeof(cmd), .bo_id = any_bo(a), .offset = any_offset(a) & ~7ull,
		.deadline_ns = any_deadline(a), .address = content_address(a),
	};

	cmd.bytes = any_bytes(a, cmd.offset) & ~7ull;
	if (cmd.bytes > BUFFER_BYTES)
		cmd.bytes = BUFFER_BYTES;
	fill_buffer(a, cmd.bytes);
	fuzz_call(a->o->node, VB_IOC_BO_READ, &cmd);
	for (uint64_t i = 0; a->o->memory.checked && i < cmd.bytes / 8; i++)
		if (!fuzz_may_see(a->c->who, a->buffer[i])) {
			fuzz_problem("client %u: BO_READ gave a foreign word %#llx", a->c->who,
				     (unsigned long long)a->buffer[i]);
			return;
		}
}

static void bo_advise(struct actor *a)
{
	struct vb_ioc_bo_advise cmd = {
		.size = sizeof(cmd), .bo_id = any_bo(a), .offset = any_offset(a),
		.advice = 1 + (uint32_t)below(&a->chance, 4),
	};
	int rc;

	cmd.bytes = any_bytes(a, cmd.offset);
	rc = CALL(a, a->o->node, VB_IOC_BO_ADVISE, &cmd);
	if (rc || cmd.advice != VB_ADVISE_PIN || one_in(&a->chance, 10))
		return;
	cmd.advice = VB_ADVISE_UNPIN;
	fuzz_call(a->o->node, VB_IOC_BO_ADVISE, &cmd);
}

static void bo_residency(struct actor *a)
{
	struct vb_ioc_bo_residency cmd = {
		.size = sizeof(cmd), .bo_id = any_bo(a),
		.first_chunk = (uint32_t)below(&a->chance, 4),
		.count = (uint32_t)below(&a->chance, BUFFER_BYTES),
		.address = any_address(a, a->buffer),
	};

	CALL(a, a->o->node, VB_IOC_BO_RESIDENCY, &cmd);
}

/* As what has a descriptor of a dma-buf may use it without us. */
static void use_dmabuf(struct actor *a, int fd)
{
	struct dma_buf_sync sync = { .flags = 1 + below(&a->chance, 3) };

	memory_map(&a->o->memory, &a->chance, fd, 0);
	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		return;
	sync.flags |= DMA_BUF_SYNC_END;
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
}

static void bo_share(struct actor *a)
{
	struct vb_ioc_bo_export out = {
		.size = sizeof(out), .bo_id = any_bo(a), .out_fd = -1,
		.flags = one_in(&a->chance, 3) ? 0 : O_RDWR | O_CLOEXEC,
	};
	struct vb_ioc_bo_import in = { .size = sizeof(in) };

	if (CALL(a, a->o->node, VB_IOC_BO_EXPORT, &out))
		out.out_fd = -1;
	else
		use_dmabuf(a, out.out_fd);
	in.fd = one_in(&a->chance, 8) ? fuzz->file : out.out_fd;
	/* As it is: another number may be a dma-buf of the other opening, whose content it is. */
	if (!fuzz_call(a->o->node, VB_IOC_BO_IMPORT, &in))
		remember(a, in.out_bo_id, in.out_bytes);
	if (out.out_fd >= 0)
		close(out.out_fd);
}

/*
 * Zeros of the kernel's udmabuf; -1: it has none, or not for us.  It maps all for the first
 * access, in its direction, and the DMA-API's checks complain about others after that: the
 * first one is in both.
 */
static int foreign_dmabuf(void)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW };
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = FOREIGN_BYTES };
	int node = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), memory, fd = -1;

	if (node < 0)
		return -1;
	memory = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	create.memfd = (uint32_t)memory;
	if (!ftruncate(memory, FOREIGN_BYTES) && !fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK))
		fd = ioctl(node, UDMABUF_CREATE, &create);
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	sync.flags |= DMA_BUF_SYNC_END;
	ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	close(memory);
	close(node);
	return fd;
}

static void bo_import(struct actor *a)
{
	struct vb_ioc_bo_import cmd = { .size = sizeof(cmd), .fd = foreign_dmabuf() };

	if (!fuzz_call(a->o->node, VB_IOC_BO_IMPORT, &cmd))
		remember(a, cmd.out_bo_id, cmd.out_bytes);
	if (cmd.fd >= 0)
		close(cmd.fd);
}

static void bo_mmap(struct actor *a)
{
	memory_map(&a->o->memory, &a->chance, a->o->node, any_bo(a));
}

/* ---- queues ---- */

static void queue_create(struct actor *a)
{
	uint32_t index = (uint32_t)below(&a->chance, QUEUES);
	struct vb_ioc_queue_create cmd = {
		.size = sizeof(cmd), .weight = (uint32_t)below(&a->chance, 1002),
	};

	/* Few, so that they see more than one submission. */
	if (atomic_load(&a->o->queue[index]) && !one_in(&a->chance, 8))
		return;
	if (CALL(a, a->o->node, VB_IOC_QUEUE_CREATE, &cmd))
		return;
	atomic_store(&a->o->seqno[index], 0);
	atomic_store(&a->o->queue[index], cmd.out_queue_id);
}

static void queue_destroy(struct actor *a)
{
	uint32_t index;
	struct vb_ioc_queue_destroy cmd = { .size = sizeof(cmd), .queue_id = any_queue(a, &index) };

	if (one_in(&a->chance, 4))
		CALL(a, a->o->node, VB_IOC_QUEUE_DESTROY, &cmd);
}

static uint32_t make_stream(struct actor *a)
{
	struct vb_stream_header *h = (void *)a->buffer;
	struct vb_cmd_header *cmd = (void *)(h + 1);

	memset(a->buffer, 0, 4096);
	h->magic = VB_STREAM_MAGIC;
	h->version = VB_STREAM_VERSION;
	h->commands = (uint32_t)below(&a->chance, 40);
	for (uint32_t i = 0; i < h->commands; i++, cmd++)
		*cmd = (struct vb_cmd_header){ .opcode = VB_CMD_NOP, .bytes = sizeof(*cmd) };
	h->bytes = (uint32_t)((char *)cmd - (char *)h);
	if (one_in(&a->chance, 20))
		((uint8_t *)h)[below(&a->chance, sizeof(*h))] ^= (uint8_t)(1 << below(&a->chance, 8));
	return h->bytes;
}

static uint32_t make_submission(struct actor *a, struct submission *s)
{
	uint32_t index;

	s->cmd = (struct vb_ioc_submit){
		.size = sizeof(s->cmd), .queue_id = any_queue(a, &index),
		.bo_count = (uint32_t)below(&a->chance, 4),
		.fence_count = one_in(&a->chance, 5) ? (uint32_t)below(&a->chance, 5) : 0,
		.deadline_ns = one_in(&a->chance, 4) ? any_deadline(a) : 0,
		.bos_address = any_address(a, s->refs), .fences_address = any_address(a, s->fences),
	};
	if (one_in(&a->chance, 40))
		s->cmd.bo_count = (uint32_t)any_size(&a->chance);
	s->cmd.stream_bytes = make_stream(a);
	s->cmd.stream_address = any_address(a, a->buffer);
	for (int i = 0; i < 16; i++)
		s->refs[i] = (struct vb_bo_ref){
			any_bo(a), one_in(&a->chance, 2) ? VB_ACCESS_READ :
						1 + (uint32_t)below(&a->chance, 8)
		};
	for (int i = 0; i < 4; i++) {
		uint32_t of, queue = any_queue(a, &of);

		s->fences[i] = (struct vb_fence){ .queue_id = queue, .seqno = any_seqno(a, of) };
	}
	return index;
}

static void submit(struct actor *a)
{
	struct submission s;
	uint32_t index = make_submission(a, &s);

	if (!CALL(a, a->o->node, VB_IOC_SUBMIT, &s.cmd) && s.cmd.out_seqno)
		atomic_store(&a->o->seqno[index], s.cmd.out_seqno);
}

static void wait_for(struct actor *a)
{
	uint32_t index;
	struct vb_ioc_wait cmd = { .size = sizeof(cmd), .queue_id = any_queue(a, &index) };

	cmd.seqno = any_seqno(a, index);
	cmd.timeout_ns = one_in(&a->chance, 3) ? 0 : now_ns() + below(&a->chance, 20000000);
	CALL(a, a->o->node, VB_IOC_WAIT, &cmd);
}

static void fence_eventfd(struct actor *a)
{
	uint32_t index;
	struct vb_ioc_fence_eventfd cmd = {
		.size = sizeof(cmd), .queue_id = any_queue(a, &index),
		.fd = one_in(&a->chance, 10) ? (int)below(&a->chance, 16) : a->c->event,
	};

	cmd.seqno = any_seqno(a, index);
	CALL(a, a->o->node, VB_IOC_FENCE_EVENTFD, &cmd);
}

static void schedule(struct actor *a)
{
	struct vb_range *ranges = (void *)a->buffer;
	struct vb_ioc_schedule cmd = {
		.size = sizeof(cmd), .flags = (uint32_t)below(&a->chance, 2),
		.count = (uint32_t)below(&a->chance, 20),
		.ranges_address = any_address(a, ranges),
	};

	if (one_in(&a->chance, 30))
		cmd.count = (uint32_t)any_size(&a->chance);
	for (int i = 0; i < 20; i++)
		ranges[i] = (struct vb_range){ .bo_id = any_bo(a), .bytes = 1 };
	CALL(a, a->o->node, VB_IOC_SCHEDULE, &cmd);
}

/* ---- commands of io_uring ---- */

static void ring_submit(struct actor *a)
{
	struct vb_uring_submit cmd = { .address = (uintptr_t)&a->later.cmd };

	make_submission(a, &a->later);
	if (one_in(&a->chance, 30))
		cmd.address = any_address(a, &a->later);
	fuzz_ring_put(&a->ring, &a->chance, a->o->node, VB_URING_SUBMIT, &cmd, sizeof(cmd),
		      !one_in(&a->chance, 10));
}

static void ring_wait(struct actor *a)
{
	uint32_t index;
	struct vb_uring_wait cmd = { .queue_id = any_queue(a, &index) };

	cmd.seqno = any_seqno(a, index);
	fuzz_ring_put(&a->ring, &a->chance, a->o->node, VB_URING_WAIT, &cmd, sizeof(cmd),
		      one_in(&a->chance, 8));
}

/* What is the executor's, or nobody's. */
static void ring_nonsense(struct actor *a)
{
	uint64_t any[10];

	for (int i = 0; i < 10; i++)
		any[i] = any_size(&a->chance);
	fuzz_ring_put(&a->ring, &a->chance, a->o->node,
		      _IOC(_IOC_WRITE, VB_IOC_MAGIC, below(&a->chance, 256), below(&a->chance, 99)),
		      any, sizeof(any), one_in(&a->chance, 2));
}

static void ring_look(struct actor *a)
{
	uint32_t wait_us = one_in(&a->chance, 3) ? 1 + (uint32_t)below(&a->chance, 5000) : 0;
	int32_t res;

	while (fuzz_ring_take(&a->ring, wait_us, &res) >= 0)
		wait_us = 0;
	if (one_in(&a->chance, 12))
		fuzz_ring_close(&a->ring);
}

/* ---- the device ---- */

static void query_device(struct actor *a)
{
	struct vb_ioc_query_device cmd = { .size = sizeof(cmd) };

	CALL(a, a->o->node, VB_IOC_QUERY_DEVICE, &cmd);
}

static void query_tier(struct actor *a)
{
	struct vb_ioc_query_tier cmd = { .size = sizeof(cmd), .index = (uint32_t)below(&a->chance, 6) };

	CALL(a, a->o->node, VB_IOC_QUERY_TIER, &cmd);
}

static void stats(struct actor *a)
{
	struct vb_ioc_stats cmd = {
		.size = sizeof(cmd), .count = (uint32_t)below(&a->chance, 64),
		.address = any_address(a, a->buffer),
	};

	/* All that is asked for is written: only where nothing of ours lies behind. */
	if (cmd.address != (uintptr_t)a->buffer)
		cmd.count = (uint32_t)any_size(&a->chance);
	CALL(a, a->o->node, VB_IOC_STATS, &cmd);
}

static void limit(struct actor *a)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd), .limit = (uint32_t)below(&a->chance, 8),
		.flags = one_in(&a->chance, 4),
	};

	/* Low limits would end the fun. */
	if (cmd.flags)
		cmd.value = any_size(&a->chance) | fuzz->chunk_bytes * 4;
	CALL(a, a->o->node, VB_IOC_LIMIT, &cmd);
}

static void poll_node(struct actor *a)
{
	struct pollfd p = { .fd = a->o->node, .events = (short)chance(&a->chance) };

	poll(&p, 1, (int)below(&a->chance, 3));
}

/* Another file in the place of the node, whatever others do with that; its handles are gone. */
static void reopen(struct actor *a)
{
	int node = one_in(&a->chance, 3) ? open("/dev/vblackwell", O_RDWR | O_CLOEXEC) : -1;

	if (node < 0)
		return;
	dup3(node, a->o->node, O_CLOEXEC);
	close(node);
}

/* Requests that are not for this node, and numbers that nobody has. */
static void nonsense(struct actor *a)
{
	uint8_t any[512];

	for (size_t i = 0; i < sizeof(any); i++)
		any[i] = (uint8_t)chance(&a->chance);
	*(uint32_t *)any = (uint32_t)below(&a->chance, 300);
	fuzz_call(a->o->node, _IOC(3, VB_IOC_MAGIC, below(&a->chance, 0x60), below(&a->chance, 256)),
		  any);
}

/* ---- threads ---- */

static void memory(struct actor *a)
{
	memory_step(&a->o->memory, &a->chance);
}

static const struct {
	void (*step)(struct actor *a);
	uint32_t weight;
} steps[] = {
	{ bo_create, 10 }, { bo_destroy, 5 }, { bo_info, 2 }, { bo_seal, 2 }, { bo_map, 6 },
	{ bo_read, 6 }, { bo_write, 6 }, { bo_advise, 8 }, { bo_residency, 2 }, { bo_share, 2 }, { bo_import, 1 },
	{ bo_mmap, 8 }, { queue_create, 4 }, { queue_destroy, 2 }, { submit, 12 }, { wait_for, 6 },
	{ fence_eventfd, 3 }, { schedule, 3 }, { query_device, 1 }, { query_tier, 2 },
	{ stats, 2 }, { limit, 2 }, { nonsense, 2 }, { memory, 24 }, { poll_node, 1 }, { reopen, 1 },
	{ ring_submit, 6 }, { ring_wait, 5 }, { ring_nonsense, 1 }, { ring_look, 8 },
};

static void step(struct actor *a)
{
	static const size_t count = sizeof(steps) / sizeof(steps[0]);
	uint64_t total = 0, at;
	size_t i;

	a->o = &a->c->opening[one_in(&a->chance, 3)];
	for (i = 0; i < count; i++)
		total += steps[i].weight;
	at = below(&a->chance, total);
	for (i = 0; at >= steps[i].weight; i++)
		at -= steps[i].weight;
	steps[i].step(a);
}

/* Without an executor most things fail at once, which is seen soon enough. */
static bool is_served(struct client *c)
{
	struct vb_ioc_query_device cmd = { .size = sizeof(cmd) };

	return !ioctl(c->opening[0].node, VB_IOC_QUERY_DEVICE, &cmd) &&
	       cmd.out_exec_state == VB_EXEC_LIVE;
}

static void *act(void *arg)
{
	struct client *c = arg;
	static atomic_uint threads;
	uint32_t index = atomic_fetch_add(&threads, 1);
	struct actor a = { .c = c, .chance = { c->seed + index } };

	a.buffer = calloc(1, BUFFER_BYTES + 4096);
	if (!a.buffer || fuzz_cover_begin(&c->cover[index]))
		_exit(1);
	while (!atomic_load(&fuzz->stop) && atomic_fetch_sub(&fuzz->left, 1) > 0) {
		step(&a);
		fuzz_cover_merge(&c->cover[index]);
		atomic_fetch_add(&fuzz->done, 1);
		if (!is_served(c) && !one_in(&a.chance, 10))
			usleep(5000);
	}
	return NULL;
}

static int open_nodes(struct client *c)
{
	for (int i = 0; i < 2; i++) {
		struct opening *o = &c->opening[i];

		o->node = open("/dev/vblackwell", O_RDWR | O_CLOEXEC);
		if (o->node < 0 || memory_init(&o->memory, c->who, !i))
			return -1;
	}
	c->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return c->event < 0 ? -1 : 0;
}

void fuzz_client(uint32_t who, uint64_t seed)
{
	static struct client c;
	pthread_t thread[THREADS];

	c.who = who;
	c.seed = seed;
	for (uint32_t i = 0; i < THREADS; i++)
		if (fuzz_cover_open(&c.cover[i]))
			_exit(1);
	/* Half of them have no privilege at all. */
	if ((seed & 1 && (setgid(65534) || setuid(65534))) || prctl(PR_SET_PDEATHSIG, SIGKILL) ||
	    open_nodes(&c))
		_exit(1);
	for (uint32_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, act, &c))
			_exit(1);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	_exit(0);
}
