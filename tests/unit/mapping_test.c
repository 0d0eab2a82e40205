// SPDX-License-Identifier: MIT
/* What vgpu_bo_map() maps of a module: a file in memory stands in for its node. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mapping.h"

#define NODE_BYTES	(1u << 20)

struct node {
	struct vgpu_uapi uapi;
	int fd, refuse;
};

static struct node node;
static struct vgpu_mappings mappings;

static int node_map(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out)
{
	struct node *n = (struct node *)u;

	if (n->refuse)
		return n->refuse;
	assert_int_equal(offset % (uint64_t)sysconf(_SC_PAGESIZE), 0);
	*out = mmap(NULL, bytes, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, n->fd,
		    (off_t)offset);
	return *out == MAP_FAILED ? -errno : 0;
}

static const struct vgpu_uapi_ops node_ops = { .name = "a file", .map = node_map };
static const struct vgpu_uapi_ops loop_ops = { .name = "loopback" };

static int setup(void **state)
{
	uint8_t bytes[4096];

	(void)state;
	node = (struct node){ .uapi.ops = &node_ops, .fd = memfd_create("node", MFD_CLOEXEC) };
	for (uint32_t at = 0; at < NODE_BYTES; at += sizeof(bytes)) {
		for (uint32_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)((at + i) * 7 + (at >> 12));
		if (pwrite(node.fd, bytes, sizeof(bytes), at) != sizeof(bytes))
			return -1;
	}
	vgpu_mappings_init(&mappings);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vgpu_mappings_end(&mappings);
	return close(node.fd);
}

static int add(uint32_t bo, uint32_t flags, uint64_t offset, uint64_t bytes, uint64_t at,
	       uint8_t **out)
{
	struct vb_ioc_bo_map cmd = {
		.size = sizeof(cmd), .bo_id = bo, .flags = flags, .offset = offset, .bytes = bytes,
		.out_mmap_offset = at,
	};

	return vgpu_mapping_add(&mappings, &node.uapi, &cmd, (void **)out);
}

static void drop(uint32_t bo, uint32_t flags, uint64_t offset, uint64_t bytes)
{
	struct vb_ioc_bo_unmap cmd = {
		.size = sizeof(cmd), .bo_id = bo, .flags = flags, .offset = offset, .bytes = bytes,
	};

	vgpu_mapping_remove(&mappings, &cmd);
}

/* Is the page of an address mapped? */
static bool is_mapped(const void *p)
{
	uintptr_t page = (uintptr_t)p & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	unsigned char in;

	return !mincore((void *)page, 1, &in);
}

static void mapping_points_to_the_byte_asked_for(void **state)
{
	static const uint64_t at[] = { 0, 1, 4095, 4096, 70001 };
	uint8_t *p;

	(void)state;
	for (uint32_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		assert_int_equal(add(1, VB_MAP_READ, at[i], 9000, at[i], &p), 0);
		for (uint64_t b = at[i]; b < at[i] + 9000; b++)
			assert_int_equal(p[b - at[i]], (uint8_t)(b * 7 + (b >> 12)));
		drop(1, VB_MAP_READ, at[i], 9000);
		assert_false(is_mapped(p));
		assert_false(is_mapped(p + 8999));
	}
}

static void mapping_removed_is_the_one_of_that_range_and_access(void **state)
{
	uint8_t *first, *again, *other, *writable;

	(void)state;
	assert_int_equal(add(1, VB_MAP_READ, 0, 4096, 0, &first), 0);
	assert_int_equal(add(1, VB_MAP_READ, 0, 4096, 0, &again), 0);
	assert_int_equal(add(2, VB_MAP_READ, 0, 4096, 8192, &other), 0);
	assert_int_equal(add(1, VB_MAP_READ | VB_MAP_WRITE, 0, 4096, 0, &writable), 0);
	drop(1, VB_MAP_READ, 0, 4096);
	assert_int_equal(is_mapped(first) + is_mapped(again), 1);
	assert_true(is_mapped(other));
	writable[5] = 99;
	drop(1, VB_MAP_READ, 0, 4096);
	assert_int_equal(is_mapped(first) + is_mapped(again), 0);
	/* Nothing is left of it: the device is going to say so. */
	drop(1, VB_MAP_READ, 0, 4096);
	drop(1, VB_MAP_READ | VB_MAP_WRITE, 0, 4095);
	assert_true(is_mapped(other));
	assert_true(is_mapped(writable));
}

static void mappings_end_with_the_client(void **state)
{
	uint8_t *p[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(add(i + 1, VB_MAP_READ, 0, 5000, i * 16384, &p[i]), 0);
	vgpu_mappings_end(&mappings);
	for (uint32_t i = 0; i < 3; i++)
		assert_false(is_mapped(p[i]));
	vgpu_mappings_init(&mappings);
}

static void refused_mapping_leaves_nothing(void **state)
{
	uint8_t *p;

	(void)state;
	node.refuse = -ENOMEM;
	assert_int_equal(add(1, VB_MAP_READ, 0, 4096, 0, &p), -ENOMEM);
	assert_null(mappings.first);
}

static void loopback_gives_addresses_and_is_not_remembered(void **state)
{
	struct vgpu_uapi loop = { .ops = &loop_ops };
	struct vb_ioc_bo_map cmd = { .size = sizeof(cmd), .bo_id = 1, .flags = VB_MAP_READ,
				     .bytes = 10, .out_address = 0x123456 };
	void *p;

	(void)state;
	assert_int_equal(vgpu_mapping_add(&mappings, &loop, &cmd, &p), 0);
	assert_ptr_equal(p, (void *)0x123456);
	assert_null(mappings.first);
}

#define MAPPING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		MAPPING_TEST(mapping_points_to_the_byte_asked_for),
		MAPPING_TEST(mapping_removed_is_the_one_of_that_range_and_access),
		MAPPING_TEST(mappings_end_with_the_client),
		MAPPING_TEST(refused_mapping_leaves_nothing),
		MAPPING_TEST(loopback_gives_addresses_and_is_not_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
