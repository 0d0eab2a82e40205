// SPDX-License-Identifier: MIT
/*
 * Memory that crosses borders: objects exported as dma-bufs to other clients and to
 * other devices, dma-bufs of others as objects.  The other exporters are udmabuf and the
 * system heap, the other device is vgem; what a kernel does not have is skipped.
 */
#include "selftests/hands.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "vm/machine.h"

#define HOST_SLOTS	16u
#define NVME_SLOTS	32u

#define needs(fd, what) do {								\
	if ((fd) < 0) {									\
		fprintf(stderr, "SKIP: %s: this kernel has no %s\n", __func__, what);	\
		skip();									\
	}										\
} while (0)

static int export(struct vgpu_uapi *of, uint32_t id, uint32_t flags, int *out)
{
	struct vb_ioc_bo_export cmd = { .size = sizeof(cmd), .bo_id = id, .flags = flags };
	int rc = vgpu_uapi_call(of, VB_IOC_BO_EXPORT, &cmd);

	*out = cmd.out_fd;
	return rc;
}

static int import(struct vgpu_uapi *of, int fd, uint32_t *out, uint64_t *bytes)
{
	struct vb_ioc_bo_import cmd = { .size = sizeof(cmd), .fd = fd };
	int rc = vgpu_uapi_call(of, VB_IOC_BO_IMPORT, &cmd);

	*out = cmd.out_bo_id;
	if (bytes)
		*bytes = cmd.out_bytes;
	return rc;
}

static void fill(uint8_t *p, uint64_t bytes, uint64_t from)
{
	for (uint64_t i = 0; i < bytes; i++)
		p[i] = rig_pattern(from + i);
}

static void assert_pattern(const uint8_t *p, uint64_t bytes, uint64_t from)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (p[i] != rig_pattern(from + i))
			fail_msg("byte %llu: %u, expected %u", (unsigned long long)i, p[i],
				 rig_pattern(from + i));
}

static void *map_fd(int fd, uint64_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* An object of @bytes with a pattern in it, as a dma-buf. */
static int exported(uint64_t bytes, uint32_t *out_id)
{
	uint8_t *data = malloc(bytes);
	int fd;

	fill(data, bytes, 0);
	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, out_id), 0);
	assert_rc(rig_write(u, *out_id, 0, data, bytes), 0);
	assert_rc(export(u, *out_id, O_CLOEXEC | O_RDWR, &fd), 0);
	free(data);
	return fd;
}

/* ---- exporters of others ---- */

static int udmabuf(uint64_t bytes, int flags, int *out_memfd)
{
	int node = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct udmabuf_create create = { .flags = (uint32_t)flags, .size = bytes };
	int fd;

	*out_memfd = -1;
	if (node < 0)
		return -1;
	*out_memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(*out_memfd, (off_t)bytes), 0);
	assert_int_equal(fcntl(*out_memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	create.memfd = (uint32_t)*out_memfd;
	fd = ioctl(node, UDMABUF_CREATE, &create);
	assert_true(fd >= 0);
	close(node);
	return fd;
}

static int system_heap(uint64_t bytes, uint32_t fd_flags)
{
	struct dma_heap_allocation_data alloc = { .len = bytes, .fd_flags = fd_flags };
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);

	if (heap < 0)
		return -1;
	assert_int_equal(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &alloc), 0);
	close(heap);
	return (int)alloc.fd;
}

static void udmabuf_is_imported_and_both_sides_see_the_same(void **state)
{
	const uint64_t bytes = chunks(2) + 4096;
	uint8_t *theirs, *ours, *data = malloc(bytes);
	struct vb_ioc_bo_info info;
	uint64_t imported;
	int fd, memfd;
	uint32_t id;

	(void)state;
	fd = udmabuf(bytes, UDMABUF_FLAGS_CLOEXEC, &memfd);
	needs(fd, "udmabuf");
	theirs = map_fd(memfd, bytes, PROT_READ | PROT_WRITE);
	fill(theirs, bytes, 5);
	assert_rc(import(u, fd, &id, &imported), 0);
	close(fd);
	assert_int_equal(imported, bytes);
	assert_rc(rig_info(u, id, &info), 0);
	assert_int_equal(info.out_kind, VB_BO_IMPORTED);
	assert_int_equal(info.out_flags, 0);
	assert_int_equal(info.out_chunks, 3);
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], 0);
	ours = machine_map(u, id, bytes, true);
	assert_pattern(ours, bytes, 5);
	ours[bytes - 1] = 77;
	assert_int_equal(theirs[bytes - 1], 77);
	assert_rc(rig_read(u, id, 0, data, bytes - 1), 0);
	assert_pattern(data, bytes - 1, 5);
	fill(data, bytes, 9);
	assert_rc(rig_write(u, id, 3, data, bytes - 3), 0);
	assert_pattern(theirs + 3, bytes - 3, 9);
	assert_rc(rig_read(u, id, 1, data, bytes), -ERANGE);
	/* The mapping outlives the handle. */
	assert_rc(rig_bo_destroy(u, id), 0);
	ours[0] = 1;
	assert_int_equal(theirs[0], 1);
	munmap(ours, bytes);
	munmap(theirs, bytes);
	close(memfd);
	free(data);
}

static void system_heap_is_imported_and_read_only_is_sealed(void **state)
{
	const uint64_t bytes = 8 * 4096;
	struct vb_ioc_bo_info info;
	uint8_t byte = 5, *theirs;
	uint32_t id;
	void *p;
	int fd;

	(void)state;
	fd = system_heap(bytes, O_RDWR | O_CLOEXEC);
	needs(fd, "system heap");
	theirs = map_fd(fd, bytes, PROT_READ | PROT_WRITE);
	assert_rc(import(u, fd, &id, NULL), 0);
	assert_rc(rig_write(u, id, 4095, &byte, 1), 0);
	assert_int_equal(theirs[4095], 5);
	assert_rc(rig_bo_destroy(u, id), 0);
	munmap(theirs, bytes);
	close(fd);

	fd = system_heap(bytes, O_CLOEXEC);
	assert_rc(import(u, fd, &id, NULL), 0);
	assert_rc(rig_info(u, id, &info), 0);
	assert_int_equal(info.out_flags, VB_BO_SEALED);
	assert_rc(rig_write(u, id, 0, &byte, 1), -EROFS);
	assert_rc(rig_map(u, id, 0, bytes, VB_MAP_WRITE, &p), -EROFS);
	assert_rc(u->ops->map(u, (uint64_t)id << 46, bytes, true, &p), -EROFS);
	assert_rc(rig_read(u, id, 0, &byte, 1), 0);
	assert_int_equal(byte, 0);
	/* What is mapped to be read does not become more by mprotect(). */
	assert_rc(u->ops->map(u, (uint64_t)id << 46, bytes, false, &p), 0);
	theirs = p;
	assert_int_equal(theirs[0], 0);
	assert_int_equal(mprotect(theirs, bytes, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	munmap(theirs, bytes);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
}

static void imported_objects_have_no_tiers(void **state)
{
	struct vb_ioc_query_tier before, after;
	uint8_t *p;
	uint32_t id;
	int fd, memfd, again;

	(void)state;
	fd = udmabuf(chunks(1), UDMABUF_FLAGS_CLOEXEC, &memfd);
	needs(fd, "udmabuf");
	assert_rc(rig_tier(u, VB_TIER_HOST, &before), 0);
	assert_rc(import(u, fd, &id, NULL), 0);
	assert_rc(rig_map(u, id, 0, chunks(1), VB_MAP_READ | VB_MAP_WRITE, (void **)&p), 0);
	p[5] = 6;
	assert_int_equal(rig_residency(u, id, 0), 0);
	assert_rc(rig_unmap(u, id, 0, chunks(1), VB_MAP_READ | VB_MAP_WRITE), 0);
	assert_rc(rig_unmap(u, id, 0, chunks(1), VB_MAP_READ | VB_MAP_WRITE), -EINVAL);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, 0, 1), -EOPNOTSUPP);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, 1), -EOPNOTSUPP);
	assert_rc(rig_seal(u, id), -EOPNOTSUPP);
	assert_rc(export(u, id, O_CLOEXEC, &again), 0);
	assert_rc(rig_tier(u, VB_TIER_HOST, &after), 0);
	assert_int_equal(after.out_used_bytes, before.out_used_bytes);
	assert_int_equal(after.out_reserved_bytes, before.out_reserved_bytes);
	assert_rc(rig_bo_destroy(u, id), 0);
	/* What was handed on is the exporter's own. */
	p = map_fd(again, chunks(1), PROT_READ);
	assert_int_equal(p[5], 6);
	munmap(p, chunks(1));
	close(again);
	close(memfd);
	close(fd);
}

static void imports_count_against_the_bytes_of_a_client(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t id, second;
	int fd, memfd;

	(void)state;
	fd = udmabuf(chunks(2), UDMABUF_FLAGS_CLOEXEC, &memfd);
	if (fd < 0)
		rig_client_close(other);
	needs(fd, "udmabuf");
	assert_rc(rig_limit(other, VB_LIMIT_BYTES_MAX, chunks(3)), 0);
	assert_rc(import(other, fd, &id, NULL), 0);
	assert_rc(import(other, fd, &second, NULL), -EDQUOT);
	assert_rc(rig_bo_destroy(other, id), 0);
	assert_rc(import(other, fd, &id, NULL), 0);
	rig_client_close(other);
	close(memfd);
	close(fd);
}

static void what_is_no_dmabuf_is_ebadf(void **state)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t id;

	(void)state;
	assert_rc(import(u, -1, &id, NULL), -EBADF);
	assert_rc(import(u, 999, &id, NULL), -EBADF);
	assert_rc(import(u, file, &id, NULL), -EBADF);
	close(file);
}

/* ---- our objects, other clients ---- */

static void import_by_the_creator_is_the_same_object(void **state)
{
	struct vb_ioc_bo_info info;
	uint32_t id, again;
	uint64_t bytes;
	uint8_t byte;
	int fd;

	(void)state;
	fd = exported(chunks(2), &id);
	assert_rc(rig_info(u, id, &info), 0);
	assert_true(info.out_flags & VB_BO_EXPORTED);
	assert_rc(import(u, fd, &again, &bytes), 0);
	assert_int_equal(again, id);
	assert_int_equal(bytes, chunks(2));
	/* The export keeps it when its handle is gone, and gives it back. */
	assert_rc(rig_bo_destroy(u, id), 0);
	assert_rc(rig_info(u, id, &info), -ENOENT);
	assert_rc(import(u, fd, &again, NULL), 0);
	assert_rc(rig_read(u, again, 7, &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(7));
	close(fd);
	assert_rc(rig_info(u, again, &info), 0);
	assert_false(info.out_flags & VB_BO_EXPORTED);
	assert_rc(rig_bo_destroy(u, again), 0);
}

static void another_client_shares_the_object_and_its_eviction(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint64_t bytes = chunks(3);
	uint8_t *ours, *theirs, *file;
	uint32_t id, shared;
	int fd;

	(void)state;
	fd = exported(bytes, &id);
	assert_rc(import(other, fd, &shared, NULL), 0);
	ours = machine_map(u, id, bytes, true);
	theirs = machine_map(other, shared, bytes, true);
	file = map_fd(fd, bytes, PROT_READ | PROT_WRITE);
	close(fd);
	assert_pattern(theirs, bytes, 0);
	theirs[1] = 100;
	assert_int_equal(ours[1], 100);
	assert_int_equal(file[1], 100);
	/* One eviction takes it out of all three. */
	assert_rc(rig_advise(other, shared, VB_ADVISE_EVICT, 0, bytes), 0);
	assert_int_equal(rig_residency(u, id, 0) & 1, 0);
	assert_int_equal(file[1], 100);
	assert_int_equal(rig_residency(u, id, 0) & 1, 1);
	file[2] = 101;
	assert_int_equal(ours[2], 101);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, bytes), 0);
	assert_int_equal(theirs[2], 101);
	/* Whoever creates may leave first. */
	assert_rc(rig_bo_destroy(u, id), 0);
	munmap(ours, bytes);
	munmap(file, bytes);
	assert_int_equal(theirs[2], 101);
	munmap(theirs, bytes);
	rig_client_close(other);
}

static void holds_of_clients_are_their_own(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t id, shared;
	void *p;
	int fd;

	(void)state;
	fd = exported(chunks(1), &id);
	assert_rc(import(other, fd, &shared, NULL), 0);
	assert_rc(rig_map(other, shared, 0, chunks(1), VB_MAP_READ, &p), 0);
	assert_rc(rig_unmap(u, id, 0, chunks(1), VB_MAP_READ), -EINVAL);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), -EBUSY);
	/* Its holds go with the client, also when its handle went before. */
	assert_rc(rig_bo_destroy(other, shared), 0);
	munmap(p, chunks(1));
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), -EBUSY);
	rig_client_close(other);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
}

static void what_was_given_to_be_read_stays_so(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t id, shared;
	uint8_t byte = 3, *p;
	int fd;

	(void)state;
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, &byte, 1), 0);
	assert_rc(export(u, id, O_CLOEXEC, &fd), 0);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	p = map_fd(fd, 4096, PROT_READ);
	assert_int_equal(*p, 3);
	assert_int_equal(mprotect(p, 4096, PROT_READ | PROT_WRITE), -1);
	munmap(p, 4096);
	assert_rc(import(other, fd, &shared, NULL), -EACCES);
	assert_rc(rig_seal(u, id), 0);
	assert_rc(import(other, fd, &shared, NULL), 0);
	assert_rc(rig_write(other, shared, 0, &byte, 1), -EROFS);
	byte = 0;
	assert_rc(rig_read(other, shared, 0, &byte, 1), 0);
	assert_int_equal(byte, 3);
	close(fd);
	assert_rc(export(u, id, O_CLOEXEC | O_RDWR, &fd), -EROFS);
	assert_rc(export(u, id, O_NONBLOCK, &fd), -EINVAL);
	assert_rc(export(u, id + 1000, O_CLOEXEC, &fd), -ENOENT);
	rig_client_close(other);
	assert_rc(rig_bo_destroy(u, id), 0);
}

static void exported_memory_returns_with_the_last_descriptor(void **state)
{
	struct vb_ioc_query_tier before, after;
	struct vgpu_uapi *other;
	uint32_t id;
	uint8_t *p;
	int fd;

	(void)state;
	assert_rc(rig_tier(u, VB_TIER_HOST, &before), 0);
	other = rig_client(&rig);
	assert_rc(rig_bo(other, chunks(4), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(export(other, id, O_CLOEXEC | O_RDWR, &fd), 0);
	rig_client_close(other);
	p = map_fd(fd, chunks(4), PROT_READ | PROT_WRITE);
	p[chunks(3)] = 9;
	assert_rc(rig_tier(u, VB_TIER_HOST, &after), 0);
	assert_int_equal(after.out_reserved_bytes, before.out_reserved_bytes + chunks(4));
	close(fd);
	assert_int_equal(p[chunks(3)], 9);
	munmap(p, chunks(4));
	for (int i = 0; i < 60000; i++) {
		assert_rc(rig_tier(u, VB_TIER_HOST, &after), 0);
		if (after.out_reserved_bytes == before.out_reserved_bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(after.out_used_bytes, before.out_used_bytes);
	assert_int_equal(after.out_reserved_bytes, before.out_reserved_bytes);
}

/* ---- our objects, another process ---- */

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &m, 0), 1);
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(socket, &m, 0) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&control.h), sizeof(fd));
	return fd;
}

/* Opens the node itself, imports, adds one to each byte; its exit status says how far. */
static void child(int socket, uint64_t bytes)
{
	struct vgpu_uapi *own;
	uint8_t *p;
	uint32_t id;
	int fd;

	/* The descriptor comes when the fork is over: nothing is inherited. */
	fd = receive_fd(socket);
	if (fd < 0)
		_exit(1);
	if (vgpu_uapi_open_node(getenv("VBLACKWELL_SELFTEST_NODE"), &own))
		_exit(2);
	if (import(own, fd, &id, NULL))
		_exit(3);
	if (own->ops->map(own, (uint64_t)id << 46, bytes, true, (void **)&p))
		_exit(4);
	for (uint64_t i = 0; i < bytes; i += 512)
		p[i]++;
	_exit(0);
}

static void another_process_shares_the_object(void **state)
{
	const uint64_t bytes = chunks(HOST_SLOTS / 2);
	int fd, pair[2], status;
	uint8_t *p;
	uint32_t id;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = fork();
	if (!pid)
		child(pair[1], bytes);
	fd = exported(bytes, &id);
	send_fd(pair[0], fd);
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	p = machine_map(u, id, bytes, false);
	for (uint64_t i = 0; i < bytes; i += 512) {
		assert_int_equal(p[i], (uint8_t)(rig_pattern(i) + 1));
		assert_int_equal(p[i + 1], rig_pattern(i + 1));
	}
	munmap(p, bytes);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(pair[0]);
	close(pair[1]);
}

/* ---- our objects, another device ---- */

struct prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};
struct gem_close {
	uint32_t handle, pad;
};
#define GEM_CLOSE		_IOW('d', 0x09, struct gem_close)
#define PRIME_FD_TO_HANDLE	_IOWR('d', 0x2e, struct prime_handle)

/* vgem imports by attaching and mapping, and does nothing else. */
static int vgem_open(void)
{
	char path[32];

	for (int i = 0; i < 8; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static int vgem_attach(int card, int fd, uint32_t *out)
{
	struct prime_handle prime = { .fd = fd };

	if (ioctl(card, PRIME_FD_TO_HANDLE, &prime))
		return -errno;
	*out = prime.handle;
	return 0;
}

static void vgem_detach(int card, uint32_t handle)
{
	struct gem_close gem = { .handle = handle };

	assert_int_equal(ioctl(card, GEM_CLOSE, &gem), 0);
}

static void attached_objects_are_pinned(void **state)
{
	int card = vgem_open(), fd;
	struct vb_ioc_query_tier before, during;
	uint32_t id, gem;
	uint8_t byte;
	void *p;

	(void)state;
	needs(card, "vgem");
	assert_rc(rig_tier(u, VB_TIER_HOST, &before), 0);
	fd = exported(chunks(2), &id);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(2)), 0);
	/* It is not there, and a device waits for nobody. */
	assert_rc(vgem_attach(card, fd, &gem), -EBUSY);
	assert_rc(rig_map(u, id, 0, chunks(2), VB_MAP_READ, &p), 0);
	assert_rc(vgem_attach(card, fd, &gem), 0);
	assert_rc(rig_unmap(u, id, 0, chunks(2), VB_MAP_READ), 0);
	assert_rc(rig_tier(u, VB_TIER_HOST, &during), 0);
	assert_int_equal(during.out_pinned_bytes, before.out_pinned_bytes + chunks(2));
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(2)), -EBUSY);
	assert_rc(rig_seal(u, id), -EBUSY);
	assert_rc(rig_read(u, id, chunks(1), &byte, 1), 0);
	assert_int_equal(byte, rig_pattern(chunks(1)));
	vgem_detach(card, gem);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(2)), 0);
	assert_rc(rig_seal(u, id), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
	close(card);
}

static void attached_objects_are_bounded_by_the_minimum(void **state)
{
	int card = vgem_open(), fd;
	uint32_t id, gem;
	void *p;

	(void)state;
	needs(card, "vgem");
	fd = exported(chunks(2), &id);
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MIN, chunks(1)), 0);
	assert_rc(rig_map(u, id, 0, chunks(2), VB_MAP_READ, &p), 0);
	assert_rc(vgem_attach(card, fd, &gem), -EDQUOT);
	assert_rc(rig_unmap(u, id, 0, chunks(2), VB_MAP_READ), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(2)), 0);
	assert_rc(rig_bo_destroy(u, id), 0);
	close(fd);
	close(card);
}

/* The device still has the memory: it is nobody else's until it lets go. */
static void attached_memory_outlives_its_executor(void **state)
{
	int card = vgem_open(), fd;
	uint32_t id, gem;
	uint8_t byte = 1;
	void *p;

	(void)state;
	needs(card, "vgem");
	fd = exported(chunks(1), &id);
	assert_rc(rig_map(u, id, 0, chunks(1), VB_MAP_READ, &p), 0);
	assert_rc(vgem_attach(card, fd, &gem), 0);
	fake_exec_close(rig.fake);
	rig.fake = NULL;
	assert_rc(rig_read(u, id, 0, &byte, 1), -EIO);
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	rig_exec_close(&x);
	vgem_detach(card, gem);
	close(fd);
	close(card);
}

/* ---- device arenas over a dma-buf; the test is the executor ---- */

enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, N = VB_TIER_NVME, Z = VB_TIER_ZERO };

static int setup(void **state)
{
	return hands_open(state, 4);
}

static int arena(int fd, uint32_t slots, struct vb_ioc_arena_create *out)
{
	*out = (struct vb_ioc_arena_create){
		.size = sizeof(*out), .tier = D, .numa_node = -1, .slots = slots,
		.memory = VB_ARENA_DMABUF, .memory_fd = fd,
	};
	return vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, out);
}

static void to_tier(uint32_t object, uint32_t chunk, uint8_t tier)
{
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_BEGIN, Z, tier), 0);
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_COMMIT, Z, tier), 0);
	assert_rc(rig_step(&x, object, chunk, VB_MOVE_WRITE, tier, tier), 0);
}

static void *read_first_byte(void *p)
{
	return (void *)(intptr_t)*(volatile uint8_t *)p;
}

static void clients_copy_from_an_arena_of_udmabuf(void **state)
{
	struct vb_ioc_query_tier q = { .size = sizeof(q) };
	struct vb_ioc_arena_create cmd;
	uint8_t *device, *p, data[5000];
	struct vb_ioc_fetch req;
	uint32_t bo, object;
	pthread_t thread;
	int fd, memfd;
	void *byte;

	(void)state;
	fd = udmabuf(chunks(4), UDMABUF_FLAGS_CLOEXEC, &memfd);
	needs(fd, "udmabuf");
	assert_rc(arena(fd, 5, &cmd), -ENOSPC);
	assert_rc(arena(fd, 4, &cmd), 0);
	q.index = cmd.out_arena;
	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_TIER, &q), 0);
	assert_int_equal(q.out_cpu_path, cmd.out_cpu_path);
	assert_int_equal(q.out_cpu_reason, cmd.out_cpu_reason);
	assert_int_equal(cmd.out_cpu_path, VB_CPU_COPY);
	assert_int_equal(cmd.out_cpu_reason, 0);
	device = map_fd(memfd, chunks(4), PROT_READ | PROT_WRITE);
	x.device = cmd.out_arena;
	object = new_object(1, &bo);
	to_tier(object, 0, D);
	/* The only slot taken is one of the four. */
	for (int i = 0; i < 4; i++)
		fill(device + chunks((uint64_t)i), chunks(1), 0);
	assert_rc(rig_read(u, bo, 100, data, sizeof(data)), 0);
	assert_pattern(data, sizeof(data), 100);
	fill(data, sizeof(data), 3);
	assert_rc(rig_write(u, bo, 4000, data, sizeof(data)), 0);
	memset(data, 0, sizeof(data));
	assert_rc(rig_read(u, bo, 4000, data, sizeof(data)), 0);
	assert_pattern(data, sizeof(data), 3);
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << D);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	/* A mapping has the chunk moved. */
	p = machine_map(u, bo, chunks(1), false);
	assert_int_equal(pthread_create(&thread, NULL, read_first_byte, p), 0);
	while (rig_fetch(&x, &req) == -EAGAIN)
		usleep(1000);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, D, H), 0);
	memset(x.memory, 0x44, x.bytes);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_COMMIT, D, H), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	pthread_join(thread, &byte);
	assert_int_equal((intptr_t)byte, 0x44);
	munmap(p, chunks(1));
	munmap(device, chunks(4));
	assert_rc(rig_bo_destroy(u, bo), 0);
	close(memfd);
	close(fd);
}

/*
 * Our own export has no mapping for the kernel, so its arena is the executor's business.
 * And our own platform device is a device that attaches, which every kernel has.
 */
static void arena_over_an_export_attaches_to_it(void **state)
{
	struct vb_ioc_query_tier before, after;
	struct vb_ioc_arena_create cmd;
	uint32_t bo, object, other;
	int fd, file;

	(void)state;
	object = new_object(2, &bo);
	assert_rc(export(u, bo, O_CLOEXEC | O_RDWR, &fd), 0);
	file = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_rc(arena(file, 1, &cmd), -EBADF);
	close(file);
	assert_rc(arena(fd, 1, &cmd), -EBUSY);
	to_tier(object, 0, H);
	assert_rc(arena(fd, 1, &cmd), -EBUSY);
	to_tier(object, 1, H);
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MIN, chunks(1)), 0);
	assert_rc(arena(fd, 1, &cmd), -EDQUOT);
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MIN, chunks(2)), 0);
	assert_rc(rig_tier(u, H, &before), 0);
	assert_rc(arena(fd, 2, &cmd), 0);
	assert_int_equal(cmd.out_cpu_path, VB_CPU_MIGRATE);
	assert_int_equal(cmd.out_cpu_reason, -EOPNOTSUPP);
	assert_rc(rig_tier(u, H, &after), 0);
	assert_int_equal(after.out_pinned_bytes, before.out_pinned_bytes + chunks(2));
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, H, N), -EBUSY);
	assert_rc(rig_seal(u, bo), -EBUSY);
	x.device = cmd.out_arena;
	to_tier(new_object(1, &other), 0, D);
	/* The executor goes, and with it the content of what it was lent. */
	rig_exec_close(&x);
	assert_int_equal(rig_residency(u, bo, 0) & 1u << 6, 1u << 6);
	assert_rc(rig_seal(u, bo), 0);
	close(fd);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(rig_bo_destroy(u, other), 0);
}

static void sealed_exports_are_not_attached_to_be_written(void **state)
{
	struct vb_ioc_arena_create cmd;
	uint32_t bo, object;
	int fd;

	(void)state;
	object = new_object(1, &bo);
	to_tier(object, 0, H);
	assert_rc(export(u, bo, O_CLOEXEC | O_RDWR, &fd), 0);
	assert_rc(rig_seal(u, bo), 0);
	assert_rc(arena(fd, 1, &cmd), -EROFS);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_BEGIN, H, D), 0);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_ABORT, H, D), 0);
	close(fd);
	assert_rc(rig_bo_destroy(u, bo), 0);
}

/* ---- the executor itself ---- */

static void executor_says_that_it_cannot_use_an_imported_object(void **state)
{
	struct rig_stream s;
	uint32_t bo, queue;
	int fd, memfd;

	(void)state;
	fd = udmabuf(chunks(1), UDMABUF_FLAGS_CLOEXEC, &memfd);
	needs(fd, "udmabuf");
	assert_rc(import(u, fd, &bo, NULL), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_fill(&s, rig_add_bo(&s, bo, VB_ACCESS_WRITE), 0, 16, 1.0f);
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_wait(u, queue, 1, 20000), -EOPNOTSUPP);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(rig_queue_destroy(u, queue), 0);
	close(memfd);
	close(fd);
}

#define EXECUTOR(name)	cmocka_unit_test_setup_teardown(name, setup, hands_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AS_CLIENT(udmabuf_is_imported_and_both_sides_see_the_same),
		AS_CLIENT(system_heap_is_imported_and_read_only_is_sealed),
		AS_CLIENT(imported_objects_have_no_tiers),
		AS_CLIENT(imports_count_against_the_bytes_of_a_client),
		AS_CLIENT(what_is_no_dmabuf_is_ebadf),
		AS_CLIENT(import_by_the_creator_is_the_same_object),
		AS_CLIENT(another_client_shares_the_object_and_its_eviction),
		AS_CLIENT(holds_of_clients_are_their_own),
		AS_CLIENT(what_was_given_to_be_read_stays_so),
		AS_CLIENT(exported_memory_returns_with_the_last_descriptor),
		AS_CLIENT(another_process_shares_the_object),
		AS_CLIENT(attached_objects_are_pinned),
		AS_CLIENT(attached_objects_are_bounded_by_the_minimum),
		AS_CLIENT(attached_memory_outlives_its_executor),
	};

	const struct CMUnitTest by_hand[] = {
		EXECUTOR(clients_copy_from_an_arena_of_udmabuf),
		EXECUTOR(arena_over_an_export_attaches_to_it),
		EXECUTOR(sealed_exports_are_not_attached_to_be_written),
	};
	const struct CMUnitTest real[] = {
		AS_CLIENT(executor_says_that_it_cannot_use_an_imported_object),
		AS_CLIENT(another_client_shares_the_object_and_its_eviction),
		AS_CLIENT(another_process_shares_the_object),
	};
	int failed = 0;

	if (!selftest_has_module("dmabuf"))
		return 0;
	failed += SELFTEST_RUN("dmabuf", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("dmabuf, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("dmabuf, executor", real, RIG_REAL, 4 * HOST_SLOTS, NVME_SLOTS);
	return failed ? 1 : 0;
}
