// SPDX-License-Identifier: MIT
/*
 * vbctl doctor: one line for each thing that decides how well a machine runs us, and
 * for each that is not as it should be, what to do.
 *
 *	ok	as it should be
 *	warn	it works, slower or smaller
 *	fail	it does not work
 */
#include "commands.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <numa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/scratch.h"
#include "common/size.h"
#include "common/summary.h"
#include "kernels/cgroup.h"
#include "vgpu.h"

enum { OK, WARN, FAIL };

#define NODE "/dev/vblackwell"
#define CAP_IPC_LOCK_BIT 14
/* PROC_USER_INIT_INO of the kernel's proc_ns.h: it has this number on every machine. */
#define FIRST_USER_NAMESPACE "user:[4026531837]"
#define FREE_BYTES_WANTED ((uint64_t)4 << 30)
#define MEMLOCK_WANTED ((uint64_t)512 << 20)
/* A quarter of it is a tier of 32 chunks. */
#define CGROUP_BYTES_WANTED ((uint64_t)256 << 20)

/**
 * struct finding - what one check found
 * @state: OK, WARN or FAIL
 * @text: what is the case
 * @fix: what to do; "" when @state is OK
 */
struct finding {
	int state;
	char text[240];
	char fix[240];
};

static void found(struct finding *f, int state, const char *fix, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void found(struct finding *f, int state, const char *fix, const char *format, ...)
{
	va_list args;

	f->state = state;
	snprintf(f->fix, sizeof(f->fix), "%s", state == OK ? "" : fix);
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

/* First line of a small file of the kernel, without its newline; "" when there is none. */
static void read_line(const char *path, char *out, size_t len)
{
	FILE *f = fopen(path, "re");

	out[0] = 0;
	if (!f)
		return;
	if (!fgets(out, (int)len, f))
		out[0] = 0;
	out[strcspn(out, "\n")] = 0;
	fclose(f);
}

/* --- checks ------------------------------------------------------------- */

static void check_kernel(const char *folder, struct finding *f)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	(void)folder;
	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	found(f, major > 5 || (major == 5 && minor >= 15) ? OK : WARN,
	      "run Linux 5.15 or newer; 6.1 for the module", "Linux %s", u.release);
}

static void check_module(const char *folder, struct finding *f)
{
	struct vgpu *v;

	(void)folder;
	if (access(NODE, F_OK))
		return found(f, OK, "", "no " NODE ": programs use the device in their own process");
	if (access(NODE, R_OK | W_OK))
		return found(f, WARN, "add yourself to the group of " NODE " (render) and log in again, "
			     "or set VBLACKWELL_DEVICE=embedded", NODE " is there, but not for you");
	if (vgpu_open(NODE, &v))
		return found(f, WARN, "look at dmesg and lsmod; VBLACKWELL_DEVICE=embedded goes without",
			     "%s", vgpu_error_text());
	vgpu_close(v);
	found(f, OK, "", NODE);
}

static void check_io_uring(const char *folder, struct finding *f)
{
	struct io_uring ring;
	int rc = io_uring_queue_init(8, &ring, 0);
	char sysctl[16];

	(void)folder;
	if (!rc) {
		io_uring_queue_exit(&ring);
		found(f, OK, "", "io_uring is allowed");
		return;
	}
	read_line("/proc/sys/kernel/io_uring_disabled", sysctl, sizeof(sysctl));
	if (sysctl[0] && sysctl[0] != '0')
		found(f, WARN, "sysctl kernel.io_uring_disabled=0",
		      "io_uring: %s, kernel.io_uring_disabled is %s; reads use threads instead",
		      strerror(-rc), sysctl);
	else
		found(f, WARN, "allow io_uring_setup, io_uring_enter and io_uring_register in the "
		      "seccomp profile of the container", "io_uring: %s; reads use threads instead",
		      strerror(-rc));
}

/* Rights in a user namespace of its own are none over memory (capable(), not ns_capable()). */
static bool in_first_user_namespace(void)
{
	char link[64];
	ssize_t n = readlink("/proc/self/ns/user", link, sizeof(link) - 1);

	link[n < 0 ? 0 : n] = 0;
	return n < 0 || !strcmp(link, FIRST_USER_NAMESPACE);
}

static bool may_lock_memory(void)
{
	unsigned long long caps = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	if (f)
		fclose(f);
	return (caps >> CAP_IPC_LOCK_BIT & 1) && in_first_user_namespace();
}

static void check_memlock(const char *folder, struct finding *f)
{
	struct rlimit limit = { 0 };

	(void)folder;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY || may_lock_memory())
		found(f, OK, "", "memory may be registered without limit%s",
		      limit.rlim_cur == RLIM_INFINITY ? "" : " (CAP_IPC_LOCK)");
	else
		found(f, limit.rlim_cur >= MEMLOCK_WANTED ? OK : WARN,
		      "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit; until then buffers "
		      "are not registered", "RLIMIT_MEMLOCK is %s, hard %s",
		      size_text(limit.rlim_cur).s,
		      limit.rlim_max == RLIM_INFINITY ? "unlimited" : size_text(limit.rlim_max).s);
}

static const char *filesystem_name(const char *folder)
{
	static const struct {
		long type;
		const char *name;
	} known[] = {
		{ 0xef53, "ext4" }, { 0x58465342, "xfs" }, { 0x9123683e, "btrfs" },
		{ 0x01021994, "tmpfs" }, { 0x794c7630, "overlayfs" }, { 0x6969, "nfs" },
		{ 0x65735546, "fuse" }, { 0x2fc12fc1, "zfs" }, { 0xf2f52010, "f2fs" },
		{ 0xca451a4e, "bcachefs" },
	};
	struct statfs s;

	if (statfs(folder, &s))
		return "unknown";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((unsigned long)s.f_type == (unsigned long)known[i].type)
			return known[i].name;
	return "unknown";
}

/* Does a read past the page cache really work here? */
static int try_direct(const char *folder)
{
	int fd = scratch_open(folder, O_DIRECT), rc = 0;
	void *page = NULL;

	if (fd < 0)
		return fd;
	if (posix_memalign(&page, 4096, 4096)) {
		close(fd);
		return -ENOMEM;
	}
	memset(page, 0, 4096);
	if (pwrite(fd, page, 4096, 0) != 4096 || pread(fd, page, 4096, 0) != 4096)
		rc = errno ? -errno : -EIO;
	free(page);
	close(fd);
	return rc;
}

static void check_direct(const char *folder, struct finding *f)
{
	const char *name = filesystem_name(folder);
	int rc = try_direct(folder);

	if (!rc)
		found(f, OK, "", "%s: %s, O_DIRECT works", folder, name);
	else if (rc == -EACCES || rc == -ENOENT || rc == -EROFS || rc == -ENOTDIR)
		found(f, rc == -ENOENT || rc == -ENOTDIR ? FAIL : WARN,
		      "give --dir a folder that you can write to", "%s: %s, %s", folder, name,
		      strerror(-rc));
	else if (rc == -ENOSPC || rc == -EDQUOT)
		found(f, WARN, "free some space, and look again", "%s: %s, O_DIRECT could not be tried (%s)",
		      folder, name, strerror(-rc));
	else
		found(f, WARN, "keep models on ext4, xfs or btrfs; until then reads go through the "
		      "page cache", "%s: %s, no O_DIRECT (%s)", folder, name, strerror(-rc));
}

static void check_disk(const char *folder, struct finding *f)
{
	struct statvfs s;
	uint64_t bytes;

	if (statvfs(folder, &s)) {
		found(f, FAIL, "give --dir a folder that exists", "%s: %s", folder, strerror(errno));
		return;
	}
	bytes = (uint64_t)s.f_bavail * s.f_frsize;
	found(f, bytes >= FREE_BYTES_WANTED ? OK : WARN, "free some space: make run takes 4 GiB",
	      "%s: %s free", folder, size_text(bytes).s);
}

static void check_huge_pages(const char *folder, struct finding *f)
{
	char thp[96], pool[32];

	(void)folder;
	read_line("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof(thp));
	read_line("/proc/sys/vm/nr_hugepages", pool, sizeof(pool));
	found(f, strstr(thp, "[always]") || strstr(thp, "[madvise]") ? OK : WARN,
	      "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
	      "transparent huge pages: %s; pool of %s", thp[0] ? thp : "not in this kernel",
	      pool[0] ? pool : "0");
}

static void check_numa(const char *folder, struct finding *f)
{
	int nodes = numa_available() < 0 ? 1 : numa_num_configured_nodes();

	(void)folder;
	found(f, OK, "", "%d NUMA node%s, %ld CPUs online", nodes, nodes == 1 ? "" : "s",
	      sysconf(_SC_NPROCESSORS_ONLN));
}

/* What the CPU has, by the names of VBLACKWELL_ISA. */
static const char *cpu_level(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
	    __builtin_cpu_supports("avx512vbmi"))
		return "avx512";
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return "avx2";
#endif
	return "ref";
}

/* What a device would use. */
static int used_level(char *out, size_t len)
{
	struct vgpu_config config = { .size = sizeof(config), .chunk_bytes = 64 << 10,
				      .host_bytes = 1 << 20, .threads = 1 };
	struct vgpu *v;
	int rc = vgpu_open_embedded(&config, &v);

	if (rc)
		return rc;
	rc = vgpu_describe(v, "isa", out, len);
	vgpu_close(v);
	return rc < 0 ? rc : 0;
}

static void check_cpu(const char *folder, struct finding *f)
{
	const char *has = cpu_level();
	char used[32];

	(void)folder;
	if (used_level(used, sizeof(used)))
		found(f, FAIL, "see the lines above", "no device: %s", vgpu_error_text());
	else if (!strcmp(used, "amx"))
		found(f, OK, "", "CPU level amx (AMX-BF16 beside AVX-512)");
	else if (strcmp(used, has))
		found(f, WARN, "unset VBLACKWELL_ISA", "CPU level %s, of which %s is used", has, used);
	else if (!strcmp(has, "ref"))
		found(f, WARN, "run on x86-64 with AVX2 and FMA; in a virtual machine pass the host's CPU",
		      "CPU level ref: plain C, slow");
	else
		found(f, OK, "", "CPU level %s%s", has, has[3] == '5' ? " (VNNI, BF16, VBMI)" : "");
}

static void check_gpu(const char *folder, struct finding *f)
{
	static const char *const libraries[] = { "libcuda.so.1", "libamdhip64.so",
						 "libze_loader.so.1", "libOpenCL.so.1" };
	char list[160] = "";
	size_t used = 0;

	(void)folder;
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_LOCAL);

		if (!library)
			continue;
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
					 libraries[i]);
		dlclose(library);
	}
	found(f, OK, "", "GPU libraries: %s; products run on the CPU", used ? list : "none");
}

static void check_cgroup(const char *folder, struct finding *f)
{
	uint64_t limit = vgpu_cgroup_memory_bytes(VGPU_CGROUP_ROOT, VGPU_CGROUP_SELF);
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	(void)folder;
	if (!limit || limit > memory)
		found(f, OK, "", "no memory limit of a cgroup; the machine has %s",
		      size_text(memory).s);
	else
		found(f, limit >= CGROUP_BYTES_WANTED ? OK : WARN,
		      "raise memory.max, or give --host and --chunk 64K", "cgroup memory limit %s of %s; "
		      "a quarter of it is the default of --host", size_text(limit).s,
		      size_text(memory).s);
}

static const struct {
	const char *name;
	void (*check)(const char *folder, struct finding *out);
} checks[] = {
	{ "kernel", check_kernel },
	{ "module", check_module },
	{ "io_uring", check_io_uring },
	{ "memlock", check_memlock },
	{ "filesystem", check_direct },
	{ "disk", check_disk },
	{ "huge_pages", check_huge_pages },
	{ "numa", check_numa },
	{ "cpu", check_cpu },
	{ "gpu", check_gpu },
	{ "cgroup", check_cgroup },
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

/* --- the command -------------------------------------------------------- */

static int examine(const char *folder, bool json)
{
	static const char *const states[] = { "ok", "warn", "fail" };
	struct json_object *o = json ? summary_new("doctor") : NULL, *item;
	struct json_object *list = summary_list(o, "checks");
	unsigned int count[3] = { 0 };

	for (size_t i = 0; i < CHECKS; i++) {
		struct finding f = { 0 };

		checks[i].check(folder, &f);
		count[f.state]++;
		if (json) {
			item = summary_item(list);
			summary_text(item, "name", checks[i].name);
			summary_text(item, "state", states[f.state]);
			summary_text(item, "text", f.text);
			summary_text(item, "fix", f.fix);
			continue;
		}
		printf("%-4s  %-11s %s\n", states[f.state], checks[i].name, f.text);
		if (f.state != OK)
			printf("      %-11s fix: %s\n", "", f.fix);
	}
	if (json)
		summary_print(o);
	else
		printf("%u ok, %u warnings, %u failures\n", count[OK], count[WARN], count[FAIL]);
	return count[FAIL] ? CLI_FAILED : CLI_OK;
}

int vbctl_doctor(int argc, char **argv)
{
	const char *folder = ".";
	bool json = false;
	const struct cli_option options[] = {
		{ "dir", CLI_TEXT, &folder, "DIR", "where models lie (default: here)", NULL, 0, 0 },
		{ "json", CLI_FLAG, &json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbctl doctor", "", "What this machine lacks, and the fix for each.", options, 0, 0,
		"Fails when something does not work at all; warnings are about speed and size.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	return rc == CLI_RUN ? examine(folder, json) : rc;
}
