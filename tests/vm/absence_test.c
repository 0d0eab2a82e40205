// SPDX-License-Identifier: MIT
/*
 * Clients from the death of an executor until the next one has recovered: who waits, for how
 * long, what they do meanwhile, and what is kept for whom.
 */
#include "vm/recover_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- what waits ---- */

struct reader {
	pthread_t thread;
	uint32_t bo, word;
	int rc;
};

static void *read_word(void *arg)
{
	struct reader *r = arg;

	r->rc = rig_read(u, r->bo, 0, &r->word, 4);
	return NULL;
}

static void start_reader(struct reader *r, uint32_t bo)
{
	*r = (struct reader){ .bo = bo };
	assert_int_equal(pthread_create(&r->thread, NULL, read_word, r), 0);
}

static void serve_page_in(uint32_t id, uint32_t word)
{
	struct vb_ioc_fetch req;
	int rc;

	while ((rc = rig_fetch(&x, &req)) == -EAGAIN)
		usleep(1000);
	assert_rc(rc, 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_int_equal(req.out_object, id);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_BEGIN, N, H), 0);
	for (uint32_t i = 0; i < SLOTS; i++)
		memcpy(x.memory + chunks(i), &word, 4);
	assert_rc(rig_step(&x, id, 0, VB_MOVE_COMMIT, N, H), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
}

static void requests_wait_for_the_successor(void **state)
{
	struct vb_ioc_fetch req;
	struct reader fetched, later;
	uint32_t a, b, a_id = absent_object(&a), b_id = absent_object(&b);

	(void)state;
	start_reader(&fetched, a);
	while (rig_fetch(&x, &req) == -EAGAIN)
		usleep(1000);
	die(&x);
	start_reader(&later, b);
	usleep(50000);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	serve_page_in(a_id, 11);
	pthread_join(fetched.thread, NULL);
	assert_rc(fetched.rc, 0);
	assert_int_equal(fetched.word, 11);
	assert_rc(rig_step(&x, a_id, 0, VB_MOVE_DROP, H, H), 0);
	serve_page_in(b_id, 22);
	pthread_join(later.thread, NULL);
	assert_rc(later.rc, 0);
	assert_int_equal(later.word, 22);
}

static bool is_reading(const struct reader *r)
{
	return pthread_tryjoin_np(r->thread, NULL) == EBUSY;
}

static int use(unsigned long request, uint32_t bo, uint64_t deadline_ns)
{
	uint32_t word = 0;
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw), .bo_id = bo, .bytes = 4,
				   .address = (uintptr_t)&word, .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, request, &rw);
}

static int map_until(uint32_t bo, uint64_t deadline_ns)
{
	struct vb_ioc_bo_map map = { .size = sizeof(map), .bo_id = bo, .flags = VB_MAP_READ,
				     .bytes = chunks(1), .deadline_ns = deadline_ns };

	return vgpu_uapi_call(u, VB_IOC_BO_MAP, &map);
}

/* Whatever is in host memory, the dead one may have written it last. */
static void what_is_damaged_is_not_used_before_it_is_dropped(void **state)
{
	uint32_t bo, id = absent_object(&bo);
	struct reader r;

	(void)state;
	copy(id, 0, N, H);
	die(&x);
	succeed(&x);
	memset(x.memory, 0xdb, chunks(SLOTS));
	start_reader(&r, bo);
	assert_rc(use(VB_IOC_BO_READ, bo, rig_now() + 50000000), -ETIME);
	assert_rc(use(VB_IOC_BO_WRITE, bo, rig_now() + 50000000), -ETIME);
	assert_rc(map_until(bo, rig_now() + 50000000), -ETIME);
	assert_true(is_reading(&r));
	assert_rc(rig_step(&x, id, 0, VB_MOVE_DROP, H, H), 0);
	assert_rc(rig_recover(&x, 0), 0);
	serve_page_in(id, 77);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, 0);
	assert_int_equal(r.word, 77);
}

/* Nobody waits for a successor that is none: what was promised holds for the next one. */
static void who_waits_for_a_successor_that_dies_is_served(void **state)
{
	uint32_t bo, id = absent_object(&bo);
	struct reader r;

	(void)state;
	copy(id, 0, N, H);
	for (uint32_t i = 0; i < SLOTS; i++)
		memcpy(x.memory + chunks(i), &(uint32_t){ 78 }, 4);
	die(&x);
	succeed(&x);
	start_reader(&r, bo);
	usleep(50000);
	assert_true(is_reading(&r));
	die(&x);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, 0);
	assert_int_equal(r.word, 78);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
}

static void *touch(void *arg)
{
	return (void *)(uintptr_t)*(volatile uint8_t *)arg;
}

static void mappings_work_while_nobody_is_there_and_wait_while_one_adopts(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);
	pthread_t thread;
	uint8_t *p;
	void *got;

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), true, (void **)&p), 0);
	p[0] = 44;
	die(&x);
	p[4096] = 45;
	assert_int_equal(p[0], 44);
	succeed(&x);
	assert_int_equal(pthread_create(&thread, NULL, touch, p + 4096), 0);
	usleep(200000);
	assert_int_equal(pthread_tryjoin_np(thread, &got), EBUSY);
	assert_rc(rig_recover(&x, 0), 0);
	pthread_join(thread, &got);
	assert_int_equal((uintptr_t)got, 45);
	munmap(p, chunks(1));
}

static void who_begins_anew_ends_all_that_waits(void **state)
{
	uint32_t bo, queue = interrupted(0, 0);
	struct vb_ioc_fetch req;
	struct reader r;

	(void)state;
	absent_object(&bo);
	start_reader(&r, bo);
	while (rig_fetch(&x, &req) == -EAGAIN)
		usleep(1000);
	die(&x);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	assert_rc(rig_recover(&x, VB_RECOVER_DISCARD), 0);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_rc(rig_wait(u, queue, 1, 0), -ENODEV);
	assert_int_equal(arena(&x, H), 0);
}

/* ---- nobody comes ---- */

static void without_a_successor_all_ends_with_enodev(void **state)
{
	uint32_t bo, queue, word;
	uint64_t start = rig_now();
	struct reader r;
	int rc;

	(void)state;
	machine_set_ms("recovery_ms", 700);
	absent_object(&bo);
	queue = new_queue();
	submit_nop(queue);
	start_reader(&r, bo);
	die(&x);
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_true(rig_now() - start >= 600000000ull);
	assert_rc(rig_wait(u, queue, 1, 1000), -ENODEV);
	assert_int_equal(machine_exec_state(u), VB_EXEC_FAILED);
	/* Who waits is told before the last object is known to be lost. */
	while ((rc = rig_read(u, bo, 0, &word, 4)) == -ENODEV && rig_now() - start < 10000000000ull)
		usleep(1000);
	assert_rc(rc, -EIO);
	assert_int_equal(attach(&x), VB_EXEC_LIVE);
}

static void successors_that_die_do_not_prolong_the_wait(void **state)
{
	struct reader r;
	uint32_t bo;
	int deaths = 0;

	(void)state;
	machine_set_ms("recovery_ms", 1500);
	absent_object(&bo);
	start_reader(&r, bo);
	die(&x);
	while (machine_exec_state(u) == VB_EXEC_QUIESCED && deaths < 1000) {
		if (attach(&x) == VB_EXEC_RECOVERING)
			deaths++;
		usleep(20000);
		rig_exec_close(&x);
	}
	pthread_join(r.thread, NULL);
	assert_rc(r.rc, -ENODEV);
	assert_in_range(deaths, 1, 500);
}

/* A fence, a copy, a fault, a copy of the kernel's that faults. */
#define WAITS	4

static void wait_in_one_way(uint32_t way, uint32_t queue, uint32_t bo, const uint8_t *mapped)
{
	uint32_t word;
	int fds[2];

	switch (way) {
	case 0:
		rig_wait(u, queue, 1, RIG_FOREVER);
		break;
	case 1:
		rig_read(u, bo, 0, &word, 4);
		break;
	case 2:
		(void)*(const volatile uint8_t *)mapped;
		break;
	default:
		if (!pipe(fds))
			(void)!write(fds[1], mapped, 1);
	}
	_exit(0);
}

/* Children that wait, each in its way, until they are killed: no sooner, and then at once. */
static void kill_who_wait(uint32_t queue, uint32_t bo, const uint8_t *mapped)
{
	pid_t pid[WAITS];
	int status;

	for (uint32_t i = 0; i < WAITS; i++) {
		pid[i] = fork();
		if (!pid[i])
			wait_in_one_way(i, queue, bo, mapped);
	}
	usleep(300000);
	for (uint32_t i = 0; i < WAITS; i++) {
		assert_int_equal(waitpid(pid[i], &status, WNOHANG), 0);
		kill(pid[i], SIGKILL);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status));
	}
}

/* While nobody is there, and while the successor looks at what is left. */
static void waits_end_with_their_process(void **state)
{
	uint32_t queue, bo;
	uint8_t *p;

	(void)state;
	absent_object(&bo);
	assert_rc(u->ops->map(u, (uint64_t)bo << 46, chunks(1), false, (void **)&p), 0);
	queue = new_queue();
	submit_nop(queue);
	die(&x);
	kill_who_wait(queue, bo, p);
	assert_int_equal(attach(&x), VB_EXEC_RECOVERING);
	kill_who_wait(queue, bo, p);
	munmap(p, chunks(1));
	assert_rc(rig_recover(&x, 0), 0);
}

/* ---- clients meanwhile ---- */

static void objects_destroyed_meanwhile_are_gone_at_once(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = listed_object(2, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_step(&x, id, 1, VB_MOVE_BEGIN, Z, H), 0);
	die(&x);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_int_equal(used_bytes(H), 0);
	succeed(&x);
	assert_int_equal(object_after(1), 0);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void an_object_being_forgotten_is_gone_too(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t bo, id = listed_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_FORGET);
	die_and_succeed(&x);
	assert_int_equal(used_bytes(H), 0);
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

static void clients_that_die_meanwhile_leave_nothing(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t bo, id, queue;

	(void)state;
	assert_rc(rig_bo(other, chunks(2), VB_LIFE_VOLATILE, &bo), 0);
	id = object_after(1);
	copy(id, 0, Z, H);
	copy(id, 1, Z, H);
	assert_rc(rig_queue(other, 0, &queue), 0);
	submit_nop_of(other, queue);
	die(&x);
	rig_client_close(other);
	assert_int_equal(used_bytes(H), 0);
	succeed(&x);
	assert_int_equal(object_after(1), 0);
}

/* An object without a client is no reason to keep memory until recovery_ms. */
static void nothing_is_kept_for_objects_to_be_forgotten(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	rig_client_close(rig.client);
	die(&x);
	u = rig.client = rig_client(&rig);
	assert_int_equal(machine_exec_state(u), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

/* Nor for one that only a hint is about. */
static void nothing_is_kept_for_hints(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);

	(void)state;
	copy(id, 0, Z, H);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	die(&x);
	/* Nobody is there to take it; that it was given is no error. */
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	rig_client_close(rig.client);
	u = rig.client = rig_client(&rig);
	assert_int_equal(machine_exec_state(u), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

static int exported(uint32_t bo)
{
	struct vb_ioc_bo_export cmd = { .size = sizeof(cmd), .bo_id = bo };

	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_EXPORT, &cmd), 0);
	return cmd.out_fd;
}

/* Nor for one whose last user was not its client. */
static void nothing_is_kept_when_an_exported_object_has_gone(void **state)
{
	uint32_t bo, id = listed_object(1, &bo);
	int fd = exported(bo);

	(void)state;
	copy(id, 0, Z, H);
	die(&x);
	rig_client_close(rig.client);
	u = rig.client = rig_client(&rig);
	assert_int_equal(machine_exec_state(u), VB_EXEC_QUIESCED);
	rig_client_close(rig.client);
	close(fd);
	u = rig.client = rig_client(&rig);
	assert_int_equal(machine_exec_state(u), VB_EXEC_FAILED);
	begin(&x);
	assert_int_equal(x.host, 0);
}

static void nobody_unloads_the_module_while_a_client_waits(void **state)
{
	(void)state;
	die(&x);
	assert_int_equal(syscall(SYS_delete_module, "vblackwell", O_NONBLOCK), -1);
	assert_true(errno == EWOULDBLOCK || errno == EBUSY);
	assert_int_equal(machine_exec_state(u), VB_EXEC_QUIESCED);
	succeed(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(requests_wait_for_the_successor),
		CASE(what_is_damaged_is_not_used_before_it_is_dropped),
		CASE(who_waits_for_a_successor_that_dies_is_served),
		CASE(mappings_work_while_nobody_is_there_and_wait_while_one_adopts),
		CASE(who_begins_anew_ends_all_that_waits),
		CASE(without_a_successor_all_ends_with_enodev),
		CASE(successors_that_die_do_not_prolong_the_wait),
		CASE(waits_end_with_their_process),
		CASE(objects_destroyed_meanwhile_are_gone_at_once),
		CASE(an_object_being_forgotten_is_gone_too),
		CASE(clients_that_die_meanwhile_leave_nothing),
		CASE(nothing_is_kept_for_objects_to_be_forgotten),
		CASE(nothing_is_kept_for_hints),
		CASE(nothing_is_kept_when_an_exported_object_has_gone),
		CASE(nobody_unloads_the_module_while_a_client_waits),
	};

	if (!selftest_has_module("absence"))
		return 0;
	return SELFTEST_RUN("absence", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
