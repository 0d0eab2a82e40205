// SPDX-License-Identifier: MIT
/*
 * fuse_faulty BACKING MOUNTPOINT [RULE...]: a file system with one file, "file", whose content is
 * that of BACKING and whose faults are the rules:
 *
 *	eio@OFFSET		requests that touch OFFSET fail with EIO
 *	enospc@OFFSET		writes that touch OFFSET fail with ENOSPC
 *	short@OFFSET:BYTES	reads that touch OFFSET return BYTES at most
 *	delay@OFFSET:MS		requests that touch OFFSET take so long
 *	hang@OFFSET		requests that touch OFFSET are never answered
 *	size@BYTES		stat() says so, whatever the truth
 *	opens@COUNT		so many open(2) are answered, and no more
 *
 * Runs in the foreground; the mount goes when the process does. Exit status 0, 1 (mount), 2 (usage).
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX	16
#define FILE_NAME	"/file"

struct rule {
	char kind[16];
	long long at;
	long long arg;
};

static struct rule rules[RULES_MAX];
static int rule_count;
static int backing;

static const struct rule *rule_find(const char *kind, off_t offset, size_t bytes)
{
	int i;

	for (i = 0; i < rule_count; i++)
		if (!strcmp(rules[i].kind, kind) && rules[i].at >= offset &&
		    rules[i].at < offset + (off_t)bytes)
			return &rules[i];
	return NULL;
}

static void hang(void)
{
	for (;;)
		pause();
}

static void delay(long long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* What reads and writes have in common. */
static int apply(off_t offset, size_t bytes)
{
	const struct rule *rule = rule_find("delay", offset, bytes);

	if (rule)
		delay(rule->arg);
	if (rule_find("hang", offset, bytes))
		hang();
	return rule_find("eio", offset, bytes) ? -EIO : 0;
}

static int faulty_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	int i;

	(void)fi;
	memset(st, 0, sizeof(*st));
	if (!strcmp(path, "/")) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, FILE_NAME))
		return -ENOENT;
	if (fstat(backing, st))
		return -errno;
	for (i = 0; i < rule_count; i++)
		if (!strcmp(rules[i].kind, "size"))
			st->st_size = rules[i].at;
	return 0;
}

static bool open_is_too_many(void)
{
	static atomic_llong opens;
	long long before = opens++;

	for (int i = 0; i < rule_count; i++)
		if (!strcmp(rules[i].kind, "opens") && before >= rules[i].at)
			return true;
	return false;
}

static int faulty_open(const char *path, struct fuse_file_info *fi)
{
	/* Every read comes here, and as short as it is answered. */
	fi->direct_io = 1;
	if (open_is_too_many())
		hang();
	return strcmp(path, FILE_NAME) ? -ENOENT : 0;
}

static int faulty_read(const char *path, char *buf, size_t bytes, off_t offset,
		       struct fuse_file_info *fi)
{
	const struct rule *rule;
	ssize_t n;
	int rc;

	(void)path;
	(void)fi;
	rc = apply(offset, bytes);
	if (rc)
		return rc;
	rule = rule_find("short", offset, bytes);
	if (rule && (long long)bytes > rule->arg)
		bytes = (size_t)rule->arg;
	n = pread(backing, buf, bytes, offset);
	return n < 0 ? -errno : (int)n;
}

static int faulty_write(const char *path, const char *buf, size_t bytes, off_t offset,
			struct fuse_file_info *fi)
{
	ssize_t n;
	int rc;

	(void)path;
	(void)fi;
	rc = apply(offset, bytes);
	if (rc)
		return rc;
	if (rule_find("enospc", offset, bytes))
		return -ENOSPC;
	n = pwrite(backing, buf, bytes, offset);
	return n < 0 ? -errno : (int)n;
}

static void *faulty_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	(void)conn;
	config->attr_timeout = 0;
	config->entry_timeout = 0;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = faulty_init,
	.getattr = faulty_getattr,
	.open = faulty_open,
	.read = faulty_read,
	.write = faulty_write,
};

static bool rule_parse(const char *text)
{
	struct rule *rule = &rules[rule_count];
	int end = 0;

	if (rule_count == RULES_MAX)
		return false;
	if (sscanf(text, "%15[a-z]@%lld%n:%lld%n", rule->kind, &rule->at, &end, &rule->arg, &end) < 2)
		return false;
	rule_count++;
	return !text[end];
}

int main(int argc, char **argv)
{
	char *fuse_argv[] = { argv[0], (char *)"-f", argv[argc > 2 ? 2 : 0], NULL };
	int i;

	if (argc < 3)
		return 2;
	for (i = 3; i < argc; i++)
		if (!rule_parse(argv[i]))
			return 2;
	backing = open(argv[1], O_RDWR | O_CLOEXEC);
	if (backing < 0) {
		perror(argv[1]);
		return 2;
	}
	return fuse_main(3, fuse_argv, &operations, NULL) ? 1 : 0;
}
