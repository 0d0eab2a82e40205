// SPDX-License-Identifier: MIT
/* What the executor knows of objects: found however many there are, gone when forgotten. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/object.h"

#define OBJECTS	100000u

static uint32_t opened;

/* A device that has every object but those whose id is a multiple of 7. */
static int open_object(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	static struct vb_table_entry table;
	struct vb_ioc_object_open *o = arg;

	(void)u;
	assert_int_equal(request, VB_IOC_OBJECT_OPEN);
	if (o->object % 7 == 0)
		return -ENOENT;
	opened++;
	o->out_kind = VB_BO_ANONYMOUS;
	o->out_fd = -1;
	o->out_chunks = 1;
	o->out_bytes = o->object;
	o->out_table_address = (uintptr_t)&table;
	return 0;
}

static const struct vgpu_uapi_ops ops = { .call = open_object };

/* The longest way to an object. */
static uint32_t longest(const struct vgpu_store *s)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < s->buckets; i++) {
		uint32_t n = 0;

		for (const struct vgpu_object *o = s->bucket[i]; o; o = o->next)
			n++;
		most = n > most ? n : most;
	}
	return most;
}

static void object_is_found_at_once_among_many(void **state)
{
	struct vgpu_uapi node = { &ops };
	struct vgpu_store s = { 0 };
	struct vgpu_object *o;

	(void)state;
	opened = 0;
	assert_int_equal(vgpu_store_init(&s, &node, NULL), 0);
	for (uint32_t id = 1; id <= OBJECTS; id++)
		assert_int_equal(vgpu_store_get(&s, id, &o), id % 7 ? 0 : -ENOENT);
	assert_int_equal(s.count, OBJECTS - OBJECTS / 7);
	assert_in_range(longest(&s), 1, 8);
	for (uint32_t id = 1; id <= OBJECTS; id++) {
		o = vgpu_store_find(&s, id);
		assert_int_equal(o != NULL, id % 7 != 0);
		assert_true(!o || (o->id == id && o->bytes == id));
	}
	/* None was opened twice. */
	assert_int_equal(opened, s.count);
	for (uint32_t id = 1; id <= OBJECTS; id += 2)
		vgpu_store_forget(&s, id);
	for (uint32_t id = 1; id <= OBJECTS; id++)
		assert_int_equal(vgpu_store_find(&s, id) != NULL, id % 2 == 0 && id % 7);
	vgpu_store_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(object_is_found_at_once_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
