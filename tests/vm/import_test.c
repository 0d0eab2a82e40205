// SPDX-License-Identifier: MIT
/*
 * The life of an imported dma-buf: attached to once an object, for as long as the object has
 * a user and no longer, whoever lets go last and however.  The exporter is udmabuf, and the
 * kernel's list of dma-bufs says who is attached.
 */
#include "selftests/hands.h"

#include <fcntl.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "vm/machine.h"

#define BUFINFO	"/sys/kernel/debug/dma_buf/bufinfo"
#define BYTES	(8u * MACHINE_PAGE)

/* ---- the exporter ---- */

static int memory = -1;		/* of the dma-buf, for us to look into */

/* -1: this kernel has none. */
static int udmabuf(void)
{
	int node = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = BYTES };
	int fd;

	if (node < 0)
		return -1;
	memory = memfd_create("import", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	assert_int_equal(ftruncate(memory, BYTES), 0);
	assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	create.memfd = (uint32_t)memory;
	fd = ioctl(node, UDMABUF_CREATE, &create);
	assert_true(fd >= 0);
	close(node);
	return fd;
}

static uint8_t memory_at(off_t at)
{
	uint8_t byte;

	assert_int_equal(pread(memory, &byte, 1, at), 1);
	return byte;
}

/**
 * struct there - what the kernel has of the exporter
 * @bufs: its dma-bufs
 * @attached: devices that are attached to these
 */
struct there {
	uint32_t bufs, attached;
};

static struct there there(void)
{
	struct there n = { 0, 0 };
	bool ours = false;
	char line[256];
	uint32_t total;
	FILE *f = fopen(BUFINFO, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "\tudmabuf\t")) {
			ours = true;
			n.bufs++;
		} else if (sscanf(line, "Total %u devices attached", &total) == 1) {
			n.attached += ours ? total : 0;
			ours = false;
		}
	}
	fclose(f);
	return n;
}

/* What is put last is closed a little later. */
static void expect_there(uint32_t bufs, uint32_t attached)
{
	struct there n = there();

	for (int i = 0; (n.bufs != bufs || n.attached != attached) && i < 60000; i++) {
		usleep(1000);
		n = there();
	}
	if (n.bufs != bufs || n.attached != attached)
		fail_msg("%u dma-bufs, %u attached; expected %u, %u", n.bufs, n.attached, bufs,
			 attached);
}

static int exporter_fd;

#define needs_exporter() do {								\
	exporter_fd = udmabuf();							\
	if (exporter_fd < 0 || access(BUFINFO, R_OK)) {					\
		fprintf(stderr, "SKIP: %s: this kernel has no udmabuf, or no list of dma-bufs\n",\
			__func__);							\
		skip();									\
	}										\
} while (0)

static void exporter_end(void)
{
	close(memory);
	memory = -1;
}

/* ---- the importer ---- */

static int import(struct vgpu_uapi *of, uint32_t *out)
{
	struct vb_ioc_bo_import cmd = { .size = sizeof(cmd), .fd = exporter_fd };
	int rc = vgpu_uapi_call(of, VB_IOC_BO_IMPORT, &cmd);

	*out = cmd.out_bo_id;
	return rc;
}

static void each_object_attaches_once_and_detaches_at_its_end(void **state)
{
	uint32_t first, second, theirs;
	struct vgpu_uapi *other;

	(void)state;
	needs_exporter();
	other = rig_client(&rig);
	expect_there(1, 0);
	assert_rc(import(u, &first), 0);
	expect_there(1, 1);
	assert_rc(import(u, &second), 0);
	assert_rc(import(other, &theirs), 0);
	expect_there(1, 3);
	assert_rc(rig_bo_destroy(u, first), 0);
	expect_there(1, 2);
	/* Objects keep it when nobody has it open any more. */
	close(exporter_fd);
	expect_there(1, 2);
	rig_client_close(other);
	expect_there(1, 1);
	assert_rc(rig_bo_destroy(u, second), 0);
	expect_there(0, 0);
	exporter_end();
}

static void import_that_is_refused_leaves_nothing_attached(void **state)
{
	struct vgpu_uapi *other;
	uint32_t id;

	(void)state;
	needs_exporter();
	other = rig_client(&rig);
	assert_rc(rig_limit(other, VB_LIMIT_BYTES_MAX, 0), 0);
	assert_rc(import(other, &id), -EDQUOT);
	expect_there(1, 0);
	close(exporter_fd);
	expect_there(0, 0);
	rig_client_close(other);
	exporter_end();
}

/* The mapping is the exporter's: it needs the dma-buf, not the object. */
static void mapping_keeps_the_memory_and_not_the_attachment(void **state)
{
	uint32_t id;
	uint8_t *p;

	(void)state;
	needs_exporter();
	assert_rc(import(u, &id), 0);
	p = machine_map(u, id, BYTES, true);
	close(exporter_fd);
	assert_rc(rig_bo_destroy(u, id), 0);
	expect_there(1, 0);
	p[MACHINE_PAGE] = 33;
	assert_int_equal(memory_at(MACHINE_PAGE), 33);
	munmap(p, BYTES);
	expect_there(0, 0);
	exporter_end();
}

static void hold_until_killed(int told)
{
	struct vb_ioc_bo_map map = { .size = sizeof(map), .flags = VB_MAP_READ | VB_MAP_WRITE,
				     .bytes = BYTES };
	struct vgpu_uapi *own;
	void *p;

	if (vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &own) ||
	    import(own, &map.bo_id) || vgpu_uapi_call(own, VB_IOC_BO_MAP, &map) ||
	    own->ops->map(own, map.out_mmap_offset, BYTES, true, &p))
		_exit(1);
	close(exporter_fd);
	if (write(told, "", 1) == 1)
		for (;;)
			pause();
	_exit(1);
}

static void client_that_is_killed_lets_go(void **state)
{
	int fds[2], status;
	char byte;
	pid_t pid;

	(void)state;
	needs_exporter();
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid)
		hold_until_killed(fds[1]);
	close(fds[1]);
	close(exporter_fd);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	expect_there(1, 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	expect_there(0, 0);
	close(fds[0]);
	exporter_end();
}

/* A submission that has not ended is a user too, and so is what the executor has open. */
static void work_and_executor_keep_it_until_they_are_through(void **state)
{
	struct vb_ioc_object_open open = { .size = sizeof(open) };
	uint32_t id, queue;
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint64_t seqno;

	(void)state;
	needs_exporter();
	queue = new_queue();
	assert_rc(import(u, &id), 0);
	close(exporter_fd);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_bo(&s, id, VB_ACCESS_WRITE);
	assert_rc(rig_submit(u, queue, &s, &seqno), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	expect_there(1, 1);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	open.object = ((const struct vb_exec_bo *)(uintptr_t)req.out_bos_address)->object;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_OBJECT_OPEN, &open), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_wait(u, queue, seqno, 10000), 0);
	expect_there(1, 1);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	expect_there(1, 0);
	close(open.out_fd);
	expect_there(0, 0);
	exporter_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		AS_CLIENT(each_object_attaches_once_and_detaches_at_its_end),
		AS_CLIENT(import_that_is_refused_leaves_nothing_attached),
		AS_CLIENT(mapping_keeps_the_memory_and_not_the_attachment),
		AS_CLIENT(client_that_is_killed_lets_go),
	};
	const struct CMUnitTest by_hand[] = {
		BY_HAND(work_and_executor_keep_it_until_they_are_through),
	};
	int failed = 0;

	if (!selftest_has_module("imports"))
		return 0;
	failed += SELFTEST_RUN("imports", tests, RIG_FAKE, 16, 32);
	failed += SELFTEST_RUN("imports, executor by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}
