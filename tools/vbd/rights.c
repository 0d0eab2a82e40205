// SPDX-License-Identifier: MIT
#include "vbd/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Files of clients: two descriptors each; more than tables can be mapped (vm.max_map_count). */
#define DESCRIPTORS	(1u << 18)
#define DESCRIPTORS_LEAST	4096u	/* where fs.nr_open is less than the above */
#define NICE		(-10)	/* 9.3 times the weight of a thread that is not nice at all */
#define CAPABILITIES	64	/* more than there are: the kernel says -EINVAL behind the last */

static bool oom_score_set(void)
{
	static const char score[] = "-1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, score, sizeof(score) - 1) == sizeof(score) - 1;
	close(fd);
	return done;
}

/* What a service manager has chosen stands. */
static int nice_take(void)
{
	if (!getpriority(PRIO_PROCESS, 0))
		setpriority(PRIO_PROCESS, 0, NICE);
	return getpriority(PRIO_PROCESS, 0);
}

void vbd_rights_take(struct vbd_rights *r)
{
	const struct rlimit no_limit = { RLIM_INFINITY, RLIM_INFINITY };
	const struct rlimit many = { DESCRIPTORS, DESCRIPTORS };
	const struct rlimit least = { DESCRIPTORS_LEAST, DESCRIPTORS_LEAST };

	r->memlock = !setrlimit(RLIMIT_MEMLOCK, &no_limit);
	if (setrlimit(RLIMIT_NOFILE, &many))
		setrlimit(RLIMIT_NOFILE, &least);
	r->io_flusher = !prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	r->no_oom = oom_score_set();
	r->nice = nice_take();
	r->locked = false;
}

void vbd_rights_lock(struct vbd_rights *r)
{
	r->locked = !mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

static bool id_parse(const char *text, char **end, unsigned int *out)
{
	unsigned long n;

	errno = 0;
	n = strtoul(text, end, 10);
	*out = (unsigned int)n;
	/* All ones means "unchanged" to the system calls. */
	return !errno && *end != text && n < (unsigned int)-1;
}

static bool numbers_parse(const char *text, struct vbd_user *out)
{
	const struct passwd *known;
	char *end;

	if (!id_parse(text, &end, &out->uid))
		return false;
	known = getpwuid(out->uid);
	out->gid = known ? known->pw_gid : out->uid;
	if (*end == ':' && !id_parse(end + 1, &end, &out->gid))
		return false;
	return !*end;
}

int vbd_user_find(const char *text, struct vbd_user *out)
{
	const struct passwd *known;

	if (!numbers_parse(text, out)) {
		known = getpwnam(text);
		if (!known)
			return -ENOENT;
		*out = (struct vbd_user){ known->pw_uid, known->pw_gid };
	}
	return out->uid && out->gid ? 0 : -EINVAL;
}

/* The sets of programs that are run later: of this thread, and so of all it may start. */
static void bounding_set_drop(void)
{
	for (int cap = 0; cap < CAPABILITIES; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static bool is_user(const struct vbd_user *user)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	return !getresuid(&r, &e, &s) && !getresgid(&rg, &eg, &sg) &&
	       r == user->uid && e == user->uid && s == user->uid &&
	       rg == user->gid && eg == user->gid && sg == user->gid;
}

int vbd_rights_drop(const struct vbd_user *user)
{
	bounding_set_drop();
	/* glibc does these in every thread. */
	if (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* There is no way back. */
	return is_user(user) && setresuid(0, 0, 0) ? 0 : -EPERM;
}
