// SPDX-License-Identifier: MIT
/* The thread pool and the count of usable CPUs; no CPU level is needed. */
#include "kernels/pool.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fork_settled.h"
#include "kernels/cgroup.h"
#include "kernels/cpus.h"

#define ITEMS	1000

struct tally {
	struct vgpu_pool *pool;
	_Atomic uint32_t calls[ITEMS];
	uint32_t thread[ITEMS];
};

static struct vgpu_pool *pool_of(uint32_t threads)
{
	struct vgpu_pool_params params = { .threads = threads };
	struct vgpu_pool *pool;

	assert_int_equal(vgpu_pool_open(&params, &pool), 0);
	return pool;
}

static void sleep_us(long us)
{
	struct timespec t = { .tv_nsec = us * 1000 };

	nanosleep(&t, NULL);
}

static void count_item(void *ctx, size_t item)
{
	struct tally *t = ctx;

	atomic_fetch_add(&t->calls[item], 1);
	t->thread[item] = vgpu_pool_self_index();
}

static void assert_each_once(const struct tally *t, size_t items)
{
	for (size_t i = 0; i < ITEMS; i++)
		assert_int_equal(t->calls[i], i < items ? 1 : 0);
}

static void pool_runs_every_item_once(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 7, 64, 999, ITEMS };
	(void)state;

	for (uint32_t threads = 1; threads <= 9; threads += 2) {
		struct vgpu_pool *pool = pool_of(threads);

		for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
			struct tally t = { .pool = pool };

			vgpu_pool_run(pool, count_item, &t, counts[c]);
			assert_each_once(&t, counts[c]);
		}
		vgpu_pool_close(pool);
	}
}

static void pool_runs_every_item_once_with_any_grain(void **state)
{
	struct vgpu_pool *pool = pool_of(3);
	(void)state;

	for (size_t grain = 0; grain < 2 * ITEMS; grain = grain * 2 + 1) {
		struct tally t = { .pool = pool };
		struct vgpu_pool_job job = { .fn = count_item, .ctx = &t,
					     .items = ITEMS, .grain = grain };

		vgpu_pool_run_job(pool, &job);
		assert_each_once(&t, ITEMS);
	}
	vgpu_pool_close(pool);
}

/* Runs in close succession, and with pauses in which every thread falls asleep. */
static void pool_survives_many_runs(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	(void)state;

	for (int run = 0; run < 3000; run++) {
		struct tally t = { .pool = pool };
		struct vgpu_pool_job job = { .fn = count_item, .ctx = &t,
					     .items = (size_t)run % 17,
					     .placement = run % 3 ? VGPU_POOL_DYNAMIC :
								    VGPU_POOL_STATIC };

		vgpu_pool_run_job(pool, &job);
		assert_each_once(&t, (size_t)run % 17);
		if (run % 100 == 0)
			sleep_us(200);
	}
	vgpu_pool_close(pool);
}

static void pool_sees_what_the_caller_wrote(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	(void)state;

	/* Plain memory on both sides: a missing barrier is a race under TSan. */
	for (int run = 0; run < 200; run++) {
		struct tally t = { .pool = pool };

		vgpu_pool_run(pool, count_item, &t, 40);
		for (int i = 0; i < 40; i++)
			assert_in_range(t.thread[i], 0, 3);
	}
	vgpu_pool_close(pool);
}

static void static_items_keep_their_thread(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	(void)state;

	for (size_t items = 1; items < 20; items++) {
		for (int run = 0; run < 20; run++) {
			struct tally t = { .pool = pool };
			struct vgpu_pool_job job = {
				.fn = count_item, .ctx = &t, .items = items,
				.placement = VGPU_POOL_STATIC,
			};

			vgpu_pool_run_job(pool, &job);
			assert_each_once(&t, items);
			for (size_t i = 1; i < items; i++)
				assert_true(t.thread[i] >= t.thread[i - 1]);
			if (items % 4 == 0)
				for (size_t i = 0; i < items; i++)
					assert_int_equal(t.thread[i], i / (items / 4));
		}
	}
	vgpu_pool_close(pool);
}

/* Threads of a pretended node are consecutive; an item's node must match them. */
static void items_stay_on_their_node(void **state)
{
	struct vgpu_pool_params params = { .threads = 7, .pretend_nodes = 3 };
	/* Seats: the caller and two, two, two. */
	static const uint32_t node_of_seat[] = { 0, 0, 0, 1, 1, 2, 2 };
	struct vgpu_pool_info info;
	struct vgpu_pool *pool;
	(void)state;

	assert_int_equal(vgpu_pool_open(&params, &pool), 0);
	vgpu_pool_query(pool, &info);
	assert_int_equal(info.nodes, 3);
	assert_false(info.pinned);
	for (int run = 0; run < 50; run++) {
		size_t items = 2 + (size_t)run * 7;
		struct tally t = { .pool = pool };

		vgpu_pool_run(pool, count_item, &t, items);
		assert_each_once(&t, items);
		for (size_t i = 0; i < items; i++)
			assert_int_equal(node_of_seat[t.thread[i]],
					 vgpu_pool_node_of_item(pool, i, items));
	}
	vgpu_pool_close(pool);
}

static void inner_item(void *ctx, size_t item)
{
	_Atomic uint32_t *sum = ctx;

	atomic_fetch_add(sum, (uint32_t)item + 1);
}

static void outer_item(void *ctx, size_t item)
{
	struct tally *t = ctx;
	uint32_t index = vgpu_pool_self_index();
	_Atomic uint32_t sum = 0;

	vgpu_pool_run(t->pool, inner_item, &sum, 10);
	assert_int_equal(sum, 55);
	assert_int_equal(vgpu_pool_self_index(), index);
	count_item(ctx, item);
}

static void nested_run_is_done_inline(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	struct tally t = { .pool = pool };
	(void)state;

	vgpu_pool_run(pool, outer_item, &t, ITEMS);
	assert_each_once(&t, ITEMS);
	assert_int_equal(vgpu_pool_self_index(), 0);
	vgpu_pool_close(pool);
}

static void other_pool_item(void *ctx, size_t item)
{
	_Atomic uint32_t *bad = ctx;
	(void)item;

	if (vgpu_pool_self_index() >= 2)
		atomic_fetch_add(bad, 1);
}

struct two_pools {
	struct vgpu_pool *inner;
	_Atomic uint32_t bad;
};

static void into_other_pool(void *ctx, size_t item)
{
	struct two_pools *two = ctx;
	uint32_t index = vgpu_pool_self_index();
	(void)item;

	vgpu_pool_run(two->inner, other_pool_item, &two->bad, 8);
	if (vgpu_pool_self_index() != index)
		atomic_fetch_add(&two->bad, 1);
}

static void index_is_that_of_the_innermost_pool(void **state)
{
	struct vgpu_pool *outer = pool_of(6);
	struct two_pools two = { .inner = pool_of(2) };
	(void)state;

	vgpu_pool_run(outer, into_other_pool, &two, 60);
	assert_int_equal(two.bad, 0);
	vgpu_pool_close(two.inner);
	vgpu_pool_close(outer);
}

struct turns {
	struct vgpu_pool *pool;
	_Atomic int inside[4];
	_Atomic uint32_t clashes;
};

static void turn_item(void *ctx, size_t item)
{
	struct turns *t = ctx;
	uint32_t index = vgpu_pool_self_index();
	(void)item;

	/* Scratch is chosen by index: two threads of one index would share it. */
	if (atomic_fetch_add(&t->inside[index], 1))
		atomic_fetch_add(&t->clashes, 1);
	atomic_fetch_sub(&t->inside[index], 1);
}

static void *turn_caller(void *arg)
{
	struct turns *t = arg;

	for (int run = 0; run < 200; run++)
		vgpu_pool_run(t->pool, turn_item, t, 1 + (size_t)run % 9);
	return NULL;
}

static void callers_take_turns(void **state)
{
	struct turns t = { .pool = pool_of(4) };
	pthread_t callers[3];
	(void)state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&callers[i], NULL, turn_caller, &t), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(callers[i], NULL);
	assert_int_equal(t.clashes, 0);
	vgpu_pool_close(t.pool);
}

static void on_caller_only(void *ctx, size_t item)
{
	pthread_t *caller = ctx;
	(void)item;

	assert_true(pthread_equal(*caller, pthread_self()));
}

static void tiny_jobs_stay_with_the_caller(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	pthread_t me = pthread_self();
	struct vgpu_pool_job job = { .fn = on_caller_only, .ctx = &me, .items = 100,
				     .cost_ns = VGPU_POOL_INLINE_NS - 1 };
	struct vgpu_pool_info info;
	(void)state;

	for (int run = 0; run < 100; run++)
		vgpu_pool_run_job(pool, &job);
	vgpu_pool_run(pool, on_caller_only, &me, 1);
	vgpu_pool_query(pool, &info);
	assert_int_equal(info.inline_runs, 101);
	assert_int_equal(info.runs, 0);
	vgpu_pool_close(pool);
}

static uint32_t threads_in_process(void)
{
	char line[128];
	unsigned int n = 0;
	FILE *f = fopen("/proc/self/status", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Threads: %u", &n) == 1)
			break;
	fclose(f);
	return n;
}

static void sixty_four_pools_leave_no_thread_behind(void **state)
{
	struct vgpu_pool *pools[64];
	uint32_t before = threads_in_process();
	(void)state;

	for (int i = 0; i < 64; i++)
		pools[i] = pool_of(1 + (uint32_t)i % 4);
	for (int i = 0; i < 64; i++) {
		struct tally t = { .pool = pools[i] };

		vgpu_pool_run(pools[i], count_item, &t, 50);
		assert_each_once(&t, 50);
	}
	for (int i = 0; i < 64; i++)
		vgpu_pool_close(pools[i]);
	/* A joined thread may take a moment to vanish from the list. */
	for (int i = 0; i < 60000 && threads_in_process() > before; i++)
		sleep_us(1000);
	assert_true(threads_in_process() <= before);
}

static _Atomic uint32_t signals_elsewhere;
static pthread_t main_thread;

static void on_signal(int sig)
{
	(void)sig;
	if (!pthread_equal(pthread_self(), main_thread))
		atomic_fetch_add(&signals_elsewhere, 1);
}

static void signals_reach_application_threads_only(void **state)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct vgpu_pool *pool;
	sigset_t one, old;
	(void)state;

	main_thread = pthread_self();
	sigaction(SIGUSR1, &action, NULL);
	pool = pool_of(4);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	/* With the main thread closed to it, a worker would have to take it. */
	pthread_sigmask(SIG_BLOCK, &one, &old);
	kill(getpid(), SIGUSR1);
	sleep_us(2000);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(signals_elsewhere, 0);
	vgpu_pool_close(pool);
	signal(SIGUSR1, SIG_DFL);
}

static void forked_child_runs_alone(void **state)
{
	struct vgpu_pool *pool = pool_of(4);
	int status;
	pid_t child;
	(void)state;

	child = fork_settled();
	assert_true(child >= 0);
	if (!child) {
		struct tally t = { .pool = pool };
		bool ok = true;

		vgpu_pool_run(pool, count_item, &t, ITEMS);
		for (int i = 0; i < ITEMS; i++)
			ok = ok && t.calls[i] == 1 && !t.thread[i];
		vgpu_pool_close(pool);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);

	/* The parent's pool does not notice. */
	struct tally t = { .pool = pool };

	vgpu_pool_run(pool, count_item, &t, ITEMS);
	assert_each_once(&t, ITEMS);
	vgpu_pool_close(pool);
}

static uint32_t threads_with_env(const char *value)
{
	struct vgpu_pool *pool;
	uint32_t threads;

	setenv("VBLACKWELL_THREADS", value, 1);
	assert_int_equal(vgpu_pool_open(NULL, &pool), 0);
	threads = vgpu_pool_threads(pool);
	vgpu_pool_close(pool);
	unsetenv("VBLACKWELL_THREADS");
	return threads;
}

static void environment_sets_the_default_threads(void **state)
{
	struct vgpu_pool *pool;
	(void)state;

	assert_int_equal(threads_with_env("3"), 3);
	assert_int_equal(threads_with_env("0"), 1);
	assert_int_equal(threads_with_env("off"), 1);
	assert_int_equal(threads_with_env("false"), 1);
	assert_int_equal(threads_with_env(""), vgpu_cpus_usable());
	setenv("VBLACKWELL_THREADS", "2", 1);
	pool = pool_of(5);
	assert_int_equal(vgpu_pool_threads(pool), 5);
	vgpu_pool_close(pool);
	unsetenv("VBLACKWELL_THREADS");
}

static void wrong_parameters_are_refused(void **state)
{
	static const char *const bad[] = { "two", "2x", "-1", " 2", "99999999999999999999",
					   "1025" };
	struct vgpu_pool_params many = { .threads = VGPU_POOL_THREADS_MAX + 1 };
	struct vgpu_pool_params nodes = { .threads = 4, .pretend_nodes = 4 };
	struct vgpu_pool *pool;
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("VBLACKWELL_THREADS", bad[i], 1);
		assert_int_equal(vgpu_pool_open(NULL, &pool), -EINVAL);
	}
	unsetenv("VBLACKWELL_THREADS");
	assert_int_equal(vgpu_pool_open(&many, &pool), -EINVAL);
	assert_int_equal(vgpu_pool_open(&nodes, &pool), -EINVAL);
}

/* --- the limits of cgroups, on a made-up tree --- */

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_dir(char *out, size_t bytes, const char *parent, const char *name)
{
	snprintf(out, bytes, "%s/%s", parent, name);
	assert_int_equal(mkdir(out, 0700), 0);
}

static void remove_tree(const char *root)
{
	char command[600];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
}

static uint32_t quota_of(const char *root)
{
	char self[300];

	snprintf(self, sizeof(self), "%s/self", root);
	return vgpu_cgroup_cpus(root, self);
}

static uint64_t memory_of(const char *root)
{
	char self[300];

	snprintf(self, sizeof(self), "%s/self", root);
	return vgpu_cgroup_memory_bytes(root, self);
}

static void quota_of_version_2_is_the_least_on_the_way_up(void **state)
{
	char root[] = "/tmp/vgpu-cpus-XXXXXX", a[128], b[192];
	(void)state;

	assert_non_null(mkdtemp(root));
	make_dir(a, sizeof(a), root, "a");
	make_dir(b, sizeof(b), a, "b");
	write_file(root, "self", "0::/a/b\n");
	assert_int_equal(quota_of(root), 0);
	write_file(b, "cpu.max", "max 100000\n");
	assert_int_equal(quota_of(root), 0);
	write_file(b, "cpu.max", "750000 100000\n");
	assert_int_equal(quota_of(root), 8);
	write_file(a, "cpu.max", "250000 100000\n");
	assert_int_equal(quota_of(root), 3);
	write_file(root, "cpu.max", "10000 100000\n");
	assert_int_equal(quota_of(root), 1);
	remove_tree(root);
}

static void quota_of_version_1_is_read_in_group_and_root(void **state)
{
	char root[] = "/tmp/vgpu-cpus-XXXXXX", mount[128], group[192];
	(void)state;

	assert_non_null(mkdtemp(root));
	make_dir(mount, sizeof(mount), root, "cpu,cpuacct");
	make_dir(group, sizeof(group), mount, "g");
	write_file(root, "self", "3:cpuset:/\n2:cpu,cpuacct:/g\n0::/\n");
	write_file(group, "cpu.cfs_period_us", "100000\n");
	write_file(group, "cpu.cfs_quota_us", "-1\n");
	assert_int_equal(quota_of(root), 0);
	write_file(group, "cpu.cfs_quota_us", "400000\n");
	assert_int_equal(quota_of(root), 4);
	/* A container sees the host's path and only the mount's root. */
	write_file(root, "self", "2:cpu,cpuacct:/elsewhere\n");
	assert_int_equal(quota_of(root), 0);
	write_file(mount, "cpu.cfs_period_us", "100000\n");
	write_file(mount, "cpu.cfs_quota_us", "150000\n");
	assert_int_equal(quota_of(root), 2);
	remove_tree(root);
}

static void quota_of_a_broken_list_is_none(void **state)
{
	char root[] = "/tmp/vgpu-cpus-XXXXXX";
	(void)state;

	assert_non_null(mkdtemp(root));
	assert_int_equal(quota_of(root), 0);
	write_file(root, "self", "nonsense\n:\n::\n0:\n");
	write_file(root, "cpu.max", "words here\n");
	assert_int_equal(quota_of(root), 0);
	remove_tree(root);
}

static void memory_of_version_2_is_the_least_on_the_way_up(void **state)
{
	char root[] = "/tmp/vgpu-cgroup-XXXXXX", a[128], b[192];
	(void)state;

	assert_non_null(mkdtemp(root));
	make_dir(a, sizeof(a), root, "a");
	make_dir(b, sizeof(b), a, "b");
	write_file(root, "self", "0::/a/b\n");
	assert_int_equal(memory_of(root), 0);
	write_file(b, "memory.max", "max\n");
	assert_int_equal(memory_of(root), 0);
	write_file(b, "memory.max", "8589934592\n");
	assert_int_equal(memory_of(root), 8ull << 30);
	write_file(a, "memory.max", "4294967296\n");
	assert_int_equal(memory_of(root), 4ull << 30);
	/* Above this one the kernel slows the process down: a tier that fills would. */
	write_file(b, "memory.high", "1073741824\n");
	assert_int_equal(memory_of(root), 1ull << 30);
	write_file(b, "memory.high", "max\n");
	write_file(b, "cpu.max", "1000 100000\n");
	assert_int_equal(memory_of(root), 4ull << 30);
	remove_tree(root);
}

static void memory_of_version_1_is_read_in_group_and_root(void **state)
{
	char root[] = "/tmp/vgpu-cgroup-XXXXXX", mount[128], group[192];
	(void)state;

	assert_non_null(mkdtemp(root));
	make_dir(mount, sizeof(mount), root, "memory");
	make_dir(group, sizeof(group), mount, "g");
	write_file(root, "self", "4:memory:/g\n2:cpu,cpuacct:/\n");
	write_file(group, "memory.limit_in_bytes", "536870912\n");
	assert_int_equal(memory_of(root), 512u << 20);
	write_file(root, "self", "4:memory:/elsewhere\n");
	assert_int_equal(memory_of(root), 0);
	write_file(mount, "memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(memory_of(root), 9223372036854771712ull);
	remove_tree(root);
}

/* Whatever limits this process, there is memory, and no more than the machine has. */
static void usable_memory_is_at_most_the_machines(void **state)
{
	(void)state;
	assert_in_range(vgpu_memory_usable_bytes(), 1u << 20,
			(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void usable_cpus_follow_the_affinity_mask(void **state)
{
	cpu_set_t old, one;
	int cpu = 0;
	(void)state;

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	while (!CPU_ISSET(cpu, &old))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(vgpu_cpus_usable(), 1);
	assert_int_equal(threads_with_env(""), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
	assert_in_range(vgpu_cpus_usable(), 1, (uint32_t)CPU_COUNT(&old));
}

static void nodes_hold_allowed_cpus_only(void **state)
{
	struct vgpu_cpus_node nodes[VGPU_CPUS_NODES_MAX];
	uint32_t n = vgpu_cpus_nodes(nodes, VGPU_CPUS_NODES_MAX);
	cpu_set_t allowed, both;
	int cpus = 0;
	(void)state;

	if (!n) {
		print_message("SKIP: the kernel reports no NUMA nodes\n");
		skip();
	}
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (uint32_t i = 0; i < n; i++) {
		CPU_AND(&both, &nodes[i].cpus, &allowed);
		assert_true(CPU_EQUAL(&both, &nodes[i].cpus));
		assert_true(CPU_COUNT(&both) > 0);
		cpus += CPU_COUNT(&both);
	}
	assert_int_equal(cpus, CPU_COUNT(&allowed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_runs_every_item_once),
		cmocka_unit_test(pool_runs_every_item_once_with_any_grain),
		cmocka_unit_test(pool_survives_many_runs),
		cmocka_unit_test(pool_sees_what_the_caller_wrote),
		cmocka_unit_test(static_items_keep_their_thread),
		cmocka_unit_test(items_stay_on_their_node),
		cmocka_unit_test(nested_run_is_done_inline),
		cmocka_unit_test(index_is_that_of_the_innermost_pool),
		cmocka_unit_test(callers_take_turns),
		cmocka_unit_test(tiny_jobs_stay_with_the_caller),
		cmocka_unit_test(sixty_four_pools_leave_no_thread_behind),
		cmocka_unit_test(signals_reach_application_threads_only),
		cmocka_unit_test(forked_child_runs_alone),
		cmocka_unit_test(environment_sets_the_default_threads),
		cmocka_unit_test(wrong_parameters_are_refused),
		cmocka_unit_test(quota_of_version_2_is_the_least_on_the_way_up),
		cmocka_unit_test(quota_of_version_1_is_read_in_group_and_root),
		cmocka_unit_test(quota_of_a_broken_list_is_none),
		cmocka_unit_test(memory_of_version_2_is_the_least_on_the_way_up),
		cmocka_unit_test(memory_of_version_1_is_read_in_group_and_root),
		cmocka_unit_test(usable_memory_is_at_most_the_machines),
		cmocka_unit_test(usable_cpus_follow_the_affinity_mask),
		cmocka_unit_test(nodes_hold_allowed_cpus_only),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
