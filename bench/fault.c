// SPDX-License-Identifier: MIT
/*
 * How long does a fault take whose chunk is on NVMe?
 *
 *	fault [file [DISK]]	a block device of at least 64 MiB, read only (/dev/vb2)
 *	fault evicted [DISK]	one that is blank, or was vbd's (/dev/vb0): becomes its arena
 *	fault pager [DISK]	the same disk as for "file", without the module
 *
 * A client maps an object through the module and touches a chunk that is nowhere in memory:
 * the module reads it, or asks vbd, another process, to, and the page table gets its page.
 * "file": the object is the disk, of which nobody has read anything yet.  "evicted": it is
 * anonymous, and was written out to the arena; what comes from there has its CRC32C checked
 * before anybody sees it.  "pager": what any other process can do: one that has userfaultfd(2)
 * tell it of the fault, reads the chunk into memory it shares with the client and has pinned
 * nothing, checked nothing and kept no account of, and has one page of it mapped.
 *
 * The peer is one O_DIRECT read of as many bytes of the same disk.  They take turns, on
 * chunks that follow each other, with a pause before each: what the one before left to be
 * done, is.  Medians.  All of the disk is read once before: what an emulated one has behind
 * it reads ahead, and of two neighbours the second would always be the fast one.
 *
 * A fault of more than 1.5 plain reads is said and makes the exit status 1.  The time that the
 * kernel takes for a CRC32C of a chunk is taken as well and told apart: an emulated machine
 * takes longer for it than for the read, a real one a tenth of that.
 *
 * Needs the module: tests/vm/bench.sh runs it in a machine of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "exec/crc32c.h"
#include "module.h"
#include "uapi.h"

#define FILE_DISK	"/dev/vb2"
#define ARENA_DISK	"/dev/vb0"
#define RUNS		12u		/* and those to warm up: in a tier of 16 slots that is not full */
#define MAX_RUNS	50u
#define WARM		3u		/* engines are chosen, files opened */
#define MOST		1.5
#define SETTLE_US	50000

static void die(const char *what, int rc)
{
	module_die("fault", what, strerror(rc < 0 ? -rc : errno));
}

/* ---- the client ---- */

/**
 * struct object - mapped through the module, and its disk open to be read directly
 * @crc: socket to the kernel's CRC32C, or -1
 * @at: where the next chunk begins that nobody has touched
 */
struct object {
	struct vgpu_uapi *node;
	int fd, crc;
	uint32_t id;
	uint64_t bytes, at, chunk_bytes;
	uint8_t *mapped;
	void *buf;
};

static void call(struct object *o, unsigned long request, void *arg, const char *what)
{
	int rc = vgpu_uapi_call(o->node, request, arg);

	if (rc)
		die(what, rc);
}

static void object_open(struct object *o, const char *disk)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	int rc = vgpu_uapi_open_node(MODULE_NODE, &o->node);

	if (rc)
		die(MODULE_NODE, rc);
	call(o, VB_IOC_QUERY_DEVICE, &q, "QUERY_DEVICE");
	o->chunk_bytes = q.out_chunk_bytes;
	o->fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	o->buf = bench_alloc(o->chunk_bytes);
	if (o->fd < 0 || !o->buf)
		die(disk, 0);
}

static void object_create(struct object *o, struct vb_ioc_bo_create create)
{
	int rc;

	create.size = sizeof(create);
	create.bytes = o->bytes;
	call(o, VB_IOC_BO_CREATE, &create, "BO_CREATE");
	o->id = create.out_bo_id;
	rc = o->node->ops->map(o->node, (uint64_t)o->id << 46, o->bytes, false,
			       (void **)&o->mapped);
	if (rc)
		die("mmap", rc);
}

static void read_chunk(const struct object *o, uint64_t at)
{
	if (pread(o->fd, o->buf, o->chunk_bytes, (off_t)at) != (ssize_t)o->chunk_bytes)
		die("read", 0);
}

/* The disk itself, of which no chunk was read through the module. */
static void object_of_file(struct object *o)
{
	off_t end = lseek(o->fd, 0, SEEK_END);

	o->bytes = end < 0 ? 0 : (uint64_t)end - (uint64_t)end % o->chunk_bytes;
	if (!o->bytes)
		die("the disk", -ENODATA);
	for (uint64_t at = 0; at < o->bytes; at += o->chunk_bytes)
		read_chunk(o, at);
	object_create(o, (struct vb_ioc_bo_create){ .kind = VB_BO_FILE, .fd = o->fd });
}

static void write_chunk(struct object *o, uint64_t at)
{
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = o->id, .offset = at,
				   .bytes = o->chunk_bytes, .address = (uintptr_t)o->buf };

	memset(o->buf, (int)(1 + at / o->chunk_bytes), o->chunk_bytes);
	call(o, VB_IOC_BO_WRITE, &rw, "BO_WRITE");
}

static uint8_t residency(struct object *o, uint64_t at)
{
	uint8_t tiers = 0;
	struct vb_ioc_bo_residency r = {
		.size = sizeof(r), .bo_id = o->id, .first_chunk = (uint32_t)(at / o->chunk_bytes),
		.count = 1, .address = (uintptr_t)&tiers,
	};

	call(o, VB_IOC_BO_RESIDENCY, &r, "BO_RESIDENCY");
	return tiers;
}

/* So many chunks that were written, and then written out. */
static void object_evicted(struct object *o, unsigned int chunks)
{
	struct vb_ioc_bo_advise out = { .size = sizeof(out), .advice = VB_ADVISE_EVICT };

	o->bytes = chunks * o->chunk_bytes;
	object_create(o, (struct vb_ioc_bo_create){ .kind = VB_BO_ANONYMOUS, .fd = -1,
						    .life = VB_LIFE_VOLATILE });
	for (uint64_t at = 0; at < o->bytes; at += o->chunk_bytes)
		write_chunk(o, at);
	out.bo_id = o->id;
	out.bytes = o->bytes;
	call(o, VB_IOC_BO_ADVISE, &out, "EVICT");
	for (uint64_t at = 0; at < o->bytes; at += o->chunk_bytes)
		if (residency(o, at) != 1u << VB_TIER_NVME)
			die("a chunk is not on NVMe", -EBUSY);
}

/* ---- the kernel's CRC32C ---- */

/* What the module computes with; -1: this kernel does not lend it. */
static int crc_open(void)
{
	struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "hash",
				     .salg_name = "crc32c" };
	int s = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), op = -1;

	if (s >= 0 && !bind(s, (struct sockaddr *)&name, sizeof(name)))
		op = accept4(s, NULL, NULL, SOCK_CLOEXEC);
	if (s >= 0)
		close(s);
	return op;
}

/*
 * Of what was read last.  Pages are handed over by the way, which the module need not: its own
 * takes less, by traces 2.7 to 3.1 ms of these 3.2.
 */
static uint32_t crc_of_kernel(const struct object *o)
{
	uint32_t crc = 0;

	if (send(o->crc, o->buf, o->chunk_bytes, 0) != (ssize_t)o->chunk_bytes ||
	    recv(o->crc, &crc, sizeof(crc), 0) != sizeof(crc))
		die("the kernel's CRC32C", 0);
	return crc;
}

/* ---- a pager that is not ours ---- */

/**
 * struct pager - what both processes have
 * @uffd: where it hears of the client's faults
 * @client: where the client has the memory
 * @memory: where it has it itself
 */
struct pager {
	struct object *o;
	int uffd;
	uint64_t client;
	uint8_t *memory;
};

static void page_map(const struct pager *p, uint64_t address)
{
	struct uffdio_continue c = { .range = { .start = address, .len = 4096 } };

	if (ioctl(p->uffd, UFFDIO_CONTINUE, &c))
		die("UFFDIO_CONTINUE", 0);
}

static void pager_serve(int out, void *arg)
{
	struct pager *p = arg;
	struct uffd_msg msg;

	if (write(out, "ready\n", 6) != 6)
		return;
	while (read(p->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint64_t at = msg.arg.pagefault.address - p->client;

		at -= at % p->o->chunk_bytes;
		if (pread(p->o->fd, p->memory + at, p->o->chunk_bytes, (off_t)at) !=
		    (ssize_t)p->o->chunk_bytes)
			die("the pager's read", 0);
		page_map(p, p->client + at);
	}
}

static void *memory_map(int fd, uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap", 0);
	return p;
}

static void uffd_register(struct pager *p)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	struct uffdio_register r = {
		.range = { .start = p->client, .len = p->o->bytes },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	p->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (p->uffd < 0 || ioctl(p->uffd, UFFDIO_API, &api) || ioctl(p->uffd, UFFDIO_REGISTER, &r))
		die("userfaultfd", 0);
}

/* So many chunks of the disk; their memory is there before, as slots of the module are. */
static pid_t object_of_pager(struct object *o, const char *disk, unsigned int chunks)
{
	int fd = memfd_create("chunks", MFD_CLOEXEC);
	struct pager p = { .o = o };

	o->chunk_bytes = 2 << 20;
	o->bytes = chunks * o->chunk_bytes;
	o->fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	o->buf = bench_alloc(o->chunk_bytes);
	if (o->fd < 0 || !o->buf || fd < 0 || ftruncate(fd, (off_t)o->bytes))
		die(disk, 0);
	p.memory = memory_map(fd, o->bytes);
	memset(p.memory, 1, o->bytes);
	o->mapped = memory_map(fd, o->bytes);
	p.client = (uintptr_t)o->mapped;
	close(fd);
	for (uint64_t at = 0; at < o->bytes; at += o->chunk_bytes)
		read_chunk(o, at);
	uffd_register(&p);
	return module_start("fault", pager_serve, &p);
}

static uint64_t object_next(struct object *o)
{
	uint64_t at = o->at;

	o->at += o->chunk_bytes;
	if (o->at > o->bytes)
		die("the object is too small", -ENOSPC);
	return at;
}

/* What the one before left to be done, is. */
static void settle(void)
{
	usleep(SETTLE_US);
}

static double us_since(double start)
{
	return (bench_seconds() - start) * 1e6;
}

static double run_fault(struct object *o)
{
	const volatile uint8_t *p = o->mapped + object_next(o);
	double start = bench_seconds();

	(void)*p;
	return us_since(start);
}

static double run_read(struct object *o)
{
	uint64_t at = object_next(o);
	double start = bench_seconds();

	read_chunk(o, at);
	return us_since(start);
}

static double run_crc(const struct object *o)
{
	uint32_t ours = vgpu_crc32c(0, o->buf, o->chunk_bytes), crc;
	double start = bench_seconds(), us;

	crc = o->crc < 0 ? vgpu_crc32c(0, o->buf, o->chunk_bytes) : crc_of_kernel(o);
	us = us_since(start);
	if (crc != ours)
		die("two CRC32C of the same bytes", -EILSEQ);
	return us;
}

/* Medians, in us; and what one of ten is no longer than, which a busy machine delays least. */
struct times {
	double fault, read, crc, fault_tenth, read_tenth;
	bool of_kernel;
};

static struct times measure(struct object *o, unsigned int runs)
{
	double fault[MAX_RUNS], read[MAX_RUNS], crc[MAX_RUNS];

	for (unsigned int i = 0; i < WARM; i++) {
		run_fault(o);
		run_read(o);
	}
	for (unsigned int i = 0; i < runs; i++) {
		settle();
		fault[i] = run_fault(o);
		settle();
		read[i] = run_read(o);
		crc[i] = run_crc(o);
	}
	return (struct times){ bench_median(fault, runs), bench_median(read, runs),
			       bench_median(crc, runs), fault[runs / 10], read[runs / 10],
			       o->crc >= 0 };
}

/* @waits: for the checksum */
static int judge(const char *mode, struct times t, bool waits)
{
	double ours = t.fault - (waits ? t.crc : 0);

	if (bench_short() || ours <= MOST * t.read)
		return 0;
	fprintf(stderr, "fault %s: %.2f plain reads%s; at most %.1f\n", mode, ours / t.read,
		waits ? " beside its CRC32C" : "", MOST);
	return 1;
}

static void tell(const char *mode, struct times t, unsigned int runs)
{
	char note[160];

	snprintf(note, sizeof(note),
		 "%.0f us against %.0f us: %.2f times; the best tenth %.0f, %.0f: %.2f; a CRC32C takes %s %.0f us",
		 t.fault, t.read, t.fault / t.read, t.fault_tenth, t.read_tenth,
		 t.fault_tenth / t.read_tenth, t.of_kernel ? "the kernel" : "the library", t.crc);
	bench_emit(&(struct bench_result){
		.bench = "fault", .mode = mode, .residency = "nvme", .unit = "1/s",
		.ours = 1e6 / t.fault, .peer = "O_DIRECT read", .theirs = 1e6 / t.read,
		.runs = runs, .note = note });
}

static int main_pager(const char *disk, unsigned int runs)
{
	struct object o = { .fd = -1, .crc = crc_open() };
	pid_t pager = object_of_pager(&o, disk, 2 * (WARM + runs));

	tell("pager", measure(&o, runs), runs);
	module_end(pager);
	return 0;
}

int main(int argc, char **argv)
{
	bool evicted = argc > 1 && !strcmp(argv[1], "evicted");
	const char *mode = evicted ? "evicted" : "file";
	const char *disk = argc > 2 ? argv[2] : evicted ? ARENA_DISK : FILE_DISK;
	unsigned int runs = bench_runs(RUNS, MAX_RUNS);
	struct object o = { .fd = -1, .crc = crc_open() };
	struct times t;
	pid_t vbd;

	if (argc > 1 && !strcmp(argv[1], "pager"))
		return main_pager(argc > 2 ? argv[2] : FILE_DISK, runs);
	if (!module_is_there("fault"))
		return 0;
	vbd = module_start_vbd("fault", (struct module_vbd){ argv[0], NULL, evicted ? disk : NULL });
	object_open(&o, disk);
	if (evicted)
		object_evicted(&o, 2 * (WARM + runs));
	else
		object_of_file(&o);
	t = measure(&o, runs);
	tell(mode, t, runs);
	module_end(vbd);
	return judge(mode, t, evicted);
}
