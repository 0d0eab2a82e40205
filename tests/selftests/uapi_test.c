// SPDX-License-Identifier: MIT
/*
 * Every request of the client node: too short, too long, reserved bits, unknown
 * flags, foreign and dead handles.  One table says what a valid request looks like.
 */
#include "selftests/selftest.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#define ROOM	8192u

static struct {
	struct vgpu_uapi *u;
	uint32_t bo, queue;
	uint64_t seqno;
	int event;
	uint64_t counters[VB_COUNT_COUNT];
	uint8_t bytes[64];
	struct rig_stream stream;
	struct vb_range range;
} f;

static int fixture(void **state)
{
	if (selftest_setup(state))
		return -1;
	f.u = rig.client;
	f.event = eventfd(0, EFD_NONBLOCK);
	if (rig_bo(f.u, 3 * rig.chunk_bytes, VB_LIFE_VOLATILE, &f.bo) ||
	    rig_queue(f.u, 0, &f.queue))
		return -1;
	rig_stream(&f.stream);
	rig_add_nop(&f.stream);
	if (rig_submit(f.u, f.queue, &f.stream, &f.seqno) ||
	    rig_wait(f.u, f.queue, f.seqno, 10000))
		return -1;
	f.range = (struct vb_range){ .bo_id = f.bo, .bytes = 1 };
	return 0;
}

static int fixture_down(void **state)
{
	close(f.event);
	return selftest_teardown(state);
}

/* ---- a valid request of each kind ---- */

static void make_nothing(void *arg)
{
	(void)arg;
}

static void make_stats(void *arg)
{
	struct vb_ioc_stats *c = arg;

	c->count = VB_COUNT_COUNT;
	c->address = (uintptr_t)f.counters;
}

static void make_limit(void *arg)
{
	struct vb_ioc_limit *c = arg;

	c->limit = VB_LIMIT_BYTES_MAX;
}

static void make_create(void *arg)
{
	struct vb_ioc_bo_create *c = arg;

	c->kind = VB_BO_ANONYMOUS;
	c->fd = -1;
	c->bytes = 100;
}

static void make_destroy(void *arg)
{
	struct vb_ioc_bo_destroy *c = arg;

	assert_rc(rig_bo(f.u, 1, VB_LIFE_VOLATILE, &c->bo_id), 0);
}

static void make_bo(void *arg)
{
	struct vb_ioc_bo_info *c = arg;	/* all of them begin: size, bo_id */

	c->bo_id = f.bo;
}

static void make_map(void *arg)
{
	struct vb_ioc_bo_map *c = arg;

	c->bo_id = f.bo;
	c->flags = VB_MAP_READ;
	c->bytes = 10;
}

static void make_unmap(void *arg)
{
	struct vb_ioc_bo_unmap *c = arg;
	void *p;

	assert_rc(rig_map(f.u, f.bo, 0, 10, VB_MAP_READ, &p), 0);
	c->bo_id = f.bo;
	c->flags = VB_MAP_READ;
	c->bytes = 10;
}

static void make_rw(void *arg)
{
	struct vb_ioc_bo_rw *c = arg;

	c->bo_id = f.bo;
	c->bytes = sizeof(f.bytes);
	c->address = (uintptr_t)f.bytes;
}

static void make_seal(void *arg)
{
	make_destroy(arg);	/* a fresh one, which nothing else needs to write */
}

static void make_advise(void *arg)
{
	struct vb_ioc_bo_advise *c = arg;

	c->bo_id = f.bo;
	c->advice = VB_ADVISE_PREFETCH;
	c->bytes = 1;
}

static void make_residency(void *arg)
{
	struct vb_ioc_bo_residency *c = arg;

	c->bo_id = f.bo;
	c->count = 3;
	c->address = (uintptr_t)f.bytes;
}

static void make_queue_destroy(void *arg)
{
	struct vb_ioc_queue_destroy *c = arg;

	assert_rc(rig_queue(f.u, 0, &c->queue_id), 0);
}

static void make_submit(void *arg)
{
	struct vb_ioc_submit *c = arg;

	c->queue_id = f.queue;
	c->stream_bytes = f.stream.h.bytes;
	c->stream_address = (uintptr_t)f.stream.bytes;
}

static void make_wait(void *arg)
{
	struct vb_ioc_wait *c = arg;

	c->queue_id = f.queue;
	c->seqno = f.seqno;
}

static void make_eventfd(void *arg)
{
	struct vb_ioc_fence_eventfd *c = arg;

	c->queue_id = f.queue;
	c->seqno = f.seqno;
	c->fd = f.event;
}

static void make_schedule(void *arg)
{
	struct vb_ioc_schedule *c = arg;

	c->count = 1;
	c->ranges_address = (uintptr_t)&f.range;
}

/**
 * struct request - one request
 * @make: fills in a valid one behind its size
 * @rc: what a valid one gives
 * @reserved, @reserved_bytes: what must be zero
 * @flags: offset of its flags, 0 none; @allowed: those that are known
 * @handle: offset of the handle that must be ours, 0 none
 */
static const struct request {
	const char *name;
	unsigned long nr;
	uint32_t bytes;
	void (*make)(void *arg);
	int rc;
	uint32_t reserved, reserved_bytes, flags, allowed, handle;
} requests[] = {
#define R(type, field)	offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define BO(type)	.handle = offsetof(struct type, bo_id)
#define QUEUE(type)	.handle = offsetof(struct type, queue_id)
	{ "query_device", VB_IOC_QUERY_DEVICE, sizeof(struct vb_ioc_query_device), make_nothing, 0,
	  R(vb_ioc_query_device, __reserved), 0, 0, 0 },
	{ "query_tier", VB_IOC_QUERY_TIER, sizeof(struct vb_ioc_query_tier), make_nothing, 0,
	  0, 0, 0, 0, 0 },
	{ "stats", VB_IOC_STATS, sizeof(struct vb_ioc_stats), make_stats, 0, 0, 0, 0, 0, 0 },
	{ "limit", VB_IOC_LIMIT, sizeof(struct vb_ioc_limit), make_limit, 0,
	  R(vb_ioc_limit, uid), offsetof(struct vb_ioc_limit, flags),
	  VB_LIMIT_SET | VB_LIMIT_USER, 0 },
	{ "bo_create", VB_IOC_BO_CREATE, sizeof(struct vb_ioc_bo_create), make_create, 0,
	  R(vb_ioc_bo_create, __reserved), 0, 0, 0 },
	{ "bo_destroy", VB_IOC_BO_DESTROY, sizeof(struct vb_ioc_bo_destroy), make_destroy, 0,
	  0, 0, 0, 0, BO(vb_ioc_bo_destroy) },
	{ "bo_info", VB_IOC_BO_INFO, sizeof(struct vb_ioc_bo_info), make_bo, 0,
	  R(vb_ioc_bo_info, __reserved), 0, 0, BO(vb_ioc_bo_info) },
	{ "bo_map", VB_IOC_BO_MAP, sizeof(struct vb_ioc_bo_map), make_map, 0,
	  R(vb_ioc_bo_map, __reserved), offsetof(struct vb_ioc_bo_map, flags),
	  VB_MAP_READ | VB_MAP_WRITE, BO(vb_ioc_bo_map) },
	{ "bo_unmap", VB_IOC_BO_UNMAP, sizeof(struct vb_ioc_bo_unmap), make_unmap, 0,
	  R(vb_ioc_bo_unmap, __reserved), offsetof(struct vb_ioc_bo_unmap, flags),
	  VB_MAP_READ | VB_MAP_WRITE, BO(vb_ioc_bo_unmap) },
	{ "bo_read", VB_IOC_BO_READ, sizeof(struct vb_ioc_bo_rw), make_rw, 0,
	  0, 0, 0, 0, BO(vb_ioc_bo_rw) },
	{ "bo_write", VB_IOC_BO_WRITE, sizeof(struct vb_ioc_bo_rw), make_rw, 0,
	  0, 0, 0, 0, BO(vb_ioc_bo_rw) },
	{ "bo_seal", VB_IOC_BO_SEAL, sizeof(struct vb_ioc_bo_seal), make_seal, 0,
	  0, 0, 0, 0, BO(vb_ioc_bo_seal) },
	{ "bo_advise", VB_IOC_BO_ADVISE, sizeof(struct vb_ioc_bo_advise), make_advise, 0,
	  R(vb_ioc_bo_advise, __reserved), 0, 0, BO(vb_ioc_bo_advise) },
	{ "bo_residency", VB_IOC_BO_RESIDENCY, sizeof(struct vb_ioc_bo_residency), make_residency, 0,
	  R(vb_ioc_bo_residency, __reserved), 0, 0, BO(vb_ioc_bo_residency) },
	{ "bo_export", VB_IOC_BO_EXPORT, sizeof(struct vb_ioc_bo_export), make_bo, -EOPNOTSUPP,
	  0, 0, offsetof(struct vb_ioc_bo_export, flags), O_CLOEXEC | O_RDWR, 0 },
	{ "bo_import", VB_IOC_BO_IMPORT, sizeof(struct vb_ioc_bo_import), make_nothing, -EOPNOTSUPP,
	  R(vb_ioc_bo_import, __reserved), 0, 0, 0 },
	{ "queue_create", VB_IOC_QUEUE_CREATE, sizeof(struct vb_ioc_queue_create), make_nothing, 0,
	  0, 0, 0, 0, 0 },
	{ "queue_destroy", VB_IOC_QUEUE_DESTROY, sizeof(struct vb_ioc_queue_destroy),
	  make_queue_destroy, 0, 0, 0, 0, 0, QUEUE(vb_ioc_queue_destroy) },
	{ "submit", VB_IOC_SUBMIT, sizeof(struct vb_ioc_submit), make_submit, 0,
	  0, 0, offsetof(struct vb_ioc_submit, flags), VB_SUBMIT_ASYNC, QUEUE(vb_ioc_submit) },
	{ "wait", VB_IOC_WAIT, sizeof(struct vb_ioc_wait), make_wait, 0,
	  R(vb_ioc_wait, __reserved), 0, 0, QUEUE(vb_ioc_wait) },
	{ "fence_eventfd", VB_IOC_FENCE_EVENTFD, sizeof(struct vb_ioc_fence_eventfd), make_eventfd, 0,
	  R(vb_ioc_fence_eventfd, __reserved), 0, 0, QUEUE(vb_ioc_fence_eventfd) },
	{ "schedule", VB_IOC_SCHEDULE, sizeof(struct vb_ioc_schedule), make_schedule, 0,
	  R(vb_ioc_schedule, __reserved), offsetof(struct vb_ioc_schedule, flags),
	  VB_SCHEDULE_CYCLE, 0 },
};
#define REQUESTS	(sizeof(requests) / sizeof(requests[0]))

static uint64_t buffer[ROOM / 8];

static void *fresh(const struct request *r)
{
	uint32_t bytes = r->bytes;

	memset(buffer, 0, sizeof(buffer));
	r->make(buffer);
	memcpy(buffer, &bytes, sizeof(bytes));
	return buffer;
}

static void set_size(uint32_t bytes)
{
	memcpy(buffer, &bytes, sizeof(bytes));
}

static int call(const struct request *r)
{
	int rc = vgpu_uapi_call(f.u, r->nr, buffer);
	struct vb_ioc_bo_export made;

	memcpy(&made, buffer, sizeof(made));
	if (!rc && r->nr == VB_IOC_BO_EXPORT)
		close(made.out_fd);
	return rc;
}

static bool has_dmabuf(void)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	return !vgpu_uapi_call(f.u, VB_IOC_QUERY_DEVICE, &q) && q.out_features & VB_FEATURE_DMABUF;
}

/* What a valid request gets: dma-bufs are the module's alone, and descriptor 0 is none. */
static int answer(const struct request *r)
{
	if (r->rc == -EOPNOTSUPP && has_dmabuf())
		return r->nr == VB_IOC_BO_EXPORT ? 0 : -EBADF;
	return r->rc;
}

static void expect(const struct request *r, int got, int wanted, const char *what)
{
	if (got != wanted)
		fail_msg("%s %s: %d, expected %d", r->name, what, got, wanted);
}

static void each_request_is_answered(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++) {
		fresh(&requests[i]);
		expect(&requests[i], call(&requests[i]), answer(&requests[i]), "valid");
	}
}

static void size_below_its_own_field_is_einval(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (uint32_t bytes = 0; bytes < 4; bytes++) {
			fresh(&requests[i]);
			set_size(bytes);
			expect(&requests[i], call(&requests[i]), -EINVAL, "size below 4");
		}
}

/*
 * A request cut short is the request with zeros there, and nothing behind is written.
 * Cuts lie between fields: half of an address is an address, and in process it is used.
 */
static void too_short_is_filled_up_with_zeros(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++) {
		const struct request *r = &requests[i];

		for (uint32_t bytes = 4; bytes < r->bytes; bytes += bytes % 8 ? 4 : 8) {
			int cut, zeroed;

			fresh(r);
			memset((char *)buffer + bytes, 0, r->bytes - bytes);
			zeroed = call(r);
			fresh(r);
			set_size(bytes);
			memset((char *)buffer + bytes, 0xa5, sizeof(buffer) - bytes);
			cut = call(r);
			/* A descriptor that the caller would not hear of is not made. */
			if (!zeroed && r->nr == VB_IOC_BO_EXPORT)
				zeroed = -EINVAL;
			if (cut != zeroed)
				fail_msg("%s cut to %u: %d, zeroed: %d", r->name, bytes, cut, zeroed);
			for (uint32_t at = bytes; at < ROOM; at++)
				assert_int_equal(((uint8_t *)buffer)[at], 0xa5);
		}
	}
}

static void too_long_with_zeros_is_taken(void **state)
{
	const uint32_t more[] = { 1, 8, 100 };

	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (size_t j = 0; j < 3; j++) {
			fresh(&requests[i]);
			set_size(requests[i].bytes + more[j]);
			expect(&requests[i], call(&requests[i]), answer(&requests[i]), "long with zeros");
		}
}

static void too_long_with_garbage_is_e2big(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (uint32_t at = requests[i].bytes; at < requests[i].bytes + 64; at += 21) {
			fresh(&requests[i]);
			set_size(requests[i].bytes + 64);
			((uint8_t *)buffer)[at] = 1;
			expect(&requests[i], call(&requests[i]), -E2BIG, "long with garbage");
			fresh(&requests[i]);
			set_size(4097);
			expect(&requests[i], call(&requests[i]), -E2BIG, "longer than a page");
		}
}

static void garbage_changes_nothing(void **state)
{
	struct vb_ioc_bo_info info;
	struct {
		struct vb_ioc_bo_destroy cmd;
		uint32_t garbage;
	} longer = { { sizeof(longer), f.bo }, 1 };

	(void)state;
	assert_rc(vgpu_uapi_call(f.u, VB_IOC_BO_DESTROY, &longer), -E2BIG);
	assert_rc(rig_info(f.u, f.bo, &info), 0);
}

static void each_reserved_bit_is_einval(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (uint32_t bit = 0; bit < requests[i].reserved_bytes * 8; bit++) {
			uint8_t *arg = fresh(&requests[i]);

			arg[requests[i].reserved + bit / 8] |= (uint8_t)(1u << bit % 8);
			expect(&requests[i], call(&requests[i]), -EINVAL, "reserved bit");
		}
}

static void each_unknown_flag_is_einval(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (uint32_t bit = 0; requests[i].flags && bit < 32; bit++) {
			uint8_t *arg = fresh(&requests[i]);

			if (requests[i].allowed & 1u << bit)
				continue;
			arg[requests[i].flags + bit / 8] |= (uint8_t)(1u << bit % 8);
			expect(&requests[i], call(&requests[i]), -EINVAL, "unknown flag");
		}
}

static void reserved_fields_of_arrays_are_einval(void **state)
{
	struct vb_ioc_schedule schedule = { .size = sizeof(schedule), .count = 1,
					    .ranges_address = (uintptr_t)&f.range };
	struct rig_stream s;

	(void)state;
	f.range.__reserved = 1;
	assert_rc(vgpu_uapi_call(f.u, VB_IOC_SCHEDULE, &schedule), -EINVAL);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_fence(&s, f.queue, f.seqno);
	s.fences[0].__reserved = 1;
	assert_rc(rig_submit(f.u, f.queue, &s, NULL), -EINVAL);
}

static void no_such_request_is_enotty(void **state)
{
	static const unsigned long wrong[] = {
		_IOWR(VB_IOC_MAGIC, 0x04, struct vb_ioc_stats),
		_IOWR(VB_IOC_MAGIC, 0x26, struct vb_ioc_stats),
		_IOWR(VB_IOC_MAGIC, 0xff, struct vb_ioc_stats),
		_IOWR(VB_IOC_MAGIC + 1, 0x02, struct vb_ioc_stats),
		_IO(VB_IOC_MAGIC, 0x02),
		VB_IOC_FETCH, VB_IOC_EXEC_ATTACH, VB_IOC_MOVE, VB_IOC_COMMIT, 0,
		VB_URING_WAIT, VB_URING_SUBMIT,	/* commands of io_uring are no requests */
	};
	struct vb_ioc_fetch arg = { .size = sizeof(arg) };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_rc(vgpu_uapi_call(f.u, wrong[i], &arg), -ENOTTY);
}

/* The size in the number is the caller's: an old program with a new module. */
static void size_in_the_request_number_is_not_looked_at(void **state)
{
	struct vb_ioc_stats arg = { .size = sizeof(arg) };

	(void)state;
	assert_rc(vgpu_uapi_call(f.u, _IOWR(VB_IOC_MAGIC, 0x02, uint64_t[9]), &arg), 0);
}

static void outputs_are_cut_where_the_caller_ends(void **state)
{
	struct vb_ioc_query_device q;

	(void)state;
	memset(&q, 0xa5, sizeof(q));
	q.size = offsetof(struct vb_ioc_query_device, out_features);
	assert_rc(vgpu_uapi_call(f.u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.size, offsetof(struct vb_ioc_query_device, out_features));
	assert_int_equal(q.out_exec_state, VB_EXEC_LIVE);
	assert_int_equal(q.out_features, 0xa5a5a5a5a5a5a5a5ull);
}

static void no_feature_is_told_that_the_header_does_not_name(void **state)
{
	const uint64_t named = VB_FEATURE_FAULT_MMAP | VB_FEATURE_DMABUF | VB_FEATURE_RECOVERY |
			       VB_FEATURE_URING_CMD;
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	(void)state;
	assert_rc(vgpu_uapi_call(f.u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.out_features & ~named, 0);
}

static void put_handle(const struct request *r, uint32_t id)
{
	memcpy((char *)buffer + r->handle, &id, sizeof(id));
}

static uint32_t get_handle(const struct request *r)
{
	uint32_t id;

	memcpy(&id, (char *)buffer + r->handle, sizeof(id));
	return id;
}

static void handle_of_another_client_is_enoent(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);

	(void)state;
	assert_non_null(other);
	for (size_t i = 0; i < REQUESTS; i++) {
		if (!requests[i].handle)
			continue;
		fresh(&requests[i]);
		expect(&requests[i], vgpu_uapi_call(other, requests[i].nr, buffer), -ENOENT,
		       "foreign handle");
	}
	rig_client_close(other);
}

static void handles_that_never_were_are_enoent(void **state)
{
	static const uint32_t wrong[] = { 0, 1000, 0x7fffffff, 0xffffffff, 1u << 20 };

	(void)state;
	for (size_t i = 0; i < REQUESTS; i++)
		for (size_t j = 0; requests[i].handle && j < 5; j++) {
			fresh(&requests[i]);
			put_handle(&requests[i], wrong[j]);
			expect(&requests[i], call(&requests[i]), -ENOENT, "unknown handle");
		}
}

static bool is_bo_request(const struct request *r)
{
	return !strncmp(r->name, "bo_", 3);
}

static void use_after_destroy_is_enoent(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS; i++) {
		const struct request *r = &requests[i];
		uint32_t id;

		if (!r->handle)
			continue;
		if (is_bo_request(r)) {
			assert_rc(rig_bo(f.u, rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
			assert_rc(rig_bo_destroy(f.u, id), 0);
		} else {
			assert_rc(rig_queue(f.u, 0, &id), 0);
			assert_rc(rig_queue_destroy(f.u, id), 0);
		}
		fresh(r);
		put_handle(r, id);
		expect(r, call(r), -ENOENT, "destroyed handle");
	}
}

static void a_queue_is_no_buffer_and_a_buffer_no_queue(void **state)
{
	(void)state;
	/* Numbers of the two kinds may coincide: destroy what has ours first. */
	for (size_t i = 0; i < REQUESTS; i++) {
		const struct request *r = &requests[i];
		uint32_t bo[8], queue[8];

		if (!r->handle || get_handle(r) == 0)
			continue;
		for (int j = 0; j < 8; j++) {
			assert_rc(rig_bo(f.u, 1, VB_LIFE_VOLATILE, &bo[j]), 0);
			assert_rc(rig_queue(f.u, 0, &queue[j]), 0);
		}
		for (int j = 0; j < 8; j++) {
			assert_rc(rig_bo_destroy(f.u, bo[j]), 0);
			assert_rc(rig_queue_destroy(f.u, queue[j]), 0);
		}
		fresh(r);
		put_handle(r, is_bo_request(r) ? queue[7] : bo[7]);
		expect(r, call(r), -ENOENT, "handle of the other kind");
	}
}

static void handles_are_not_reused_soon(void **state)
{
	uint32_t first, id;

	(void)state;
	assert_rc(rig_bo(f.u, 1, VB_LIFE_VOLATILE, &first), 0);
	assert_rc(rig_bo_destroy(f.u, first), 0);
	for (int i = 0; i < 2000; i++) {
		assert_rc(rig_bo(f.u, 1, VB_LIFE_VOLATILE, &id), 0);
		assert_int_not_equal(id, first);
		assert_rc(rig_bo_destroy(f.u, id), 0);
	}
}

static void addresses_that_are_null_are_efault(void **state)
{
	static const struct {
		const char *name;
		uint32_t address;
	} fields[] = {
		{ "stats", offsetof(struct vb_ioc_stats, address) },
		{ "bo_read", offsetof(struct vb_ioc_bo_rw, address) },
		{ "bo_write", offsetof(struct vb_ioc_bo_rw, address) },
		{ "bo_residency", offsetof(struct vb_ioc_bo_residency, address) },
		{ "submit", offsetof(struct vb_ioc_submit, stream_address) },
		{ "schedule", offsetof(struct vb_ioc_schedule, ranges_address) },
	};

	(void)state;
	for (size_t j = 0; j < sizeof(fields) / sizeof(fields[0]); j++)
		for (size_t i = 0; i < REQUESTS; i++) {
			if (strcmp(requests[i].name, fields[j].name))
				continue;
			memset((char *)fresh(&requests[i]) + fields[j].address, 0, 8);
			expect(&requests[i], call(&requests[i]), -EFAULT, "address 0");
		}
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, fixture, fixture_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_request_is_answered),
		CASE(size_below_its_own_field_is_einval),
		CASE(too_short_is_filled_up_with_zeros),
		CASE(too_long_with_zeros_is_taken),
		CASE(too_long_with_garbage_is_e2big),
		CASE(garbage_changes_nothing),
		CASE(each_reserved_bit_is_einval),
		CASE(each_unknown_flag_is_einval),
		CASE(reserved_fields_of_arrays_are_einval),
		CASE(no_such_request_is_enotty),
		CASE(size_in_the_request_number_is_not_looked_at),
		CASE(outputs_are_cut_where_the_caller_ends),
		CASE(no_feature_is_told_that_the_header_does_not_name),
		CASE(handle_of_another_client_is_enoent),
		CASE(handles_that_never_were_are_enoent),
		CASE(use_after_destroy_is_enoent),
		CASE(a_queue_is_no_buffer_and_a_buffer_no_queue),
		CASE(handles_are_not_reused_soon),
		CASE(addresses_that_are_null_are_efault),
	};

	return SELFTEST_RUN("uapi", tests, RIG_FAKE, 64, 0) ? 1 : 0;
}
