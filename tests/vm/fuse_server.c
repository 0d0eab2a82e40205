// SPDX-License-Identifier: MIT
#include "vm/fuse_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES	(128u << 10)	/* of any request, and of an answer's content */

struct fuse_orders *fuse_orders;

static struct fuse_server served;
static pid_t server;
static int server_fd;

union request {
	struct fuse_in_header h;
	char bytes[MESSAGE_BYTES];
};

static void answer(const struct fuse_in_header *h, int error, const void *out, size_t bytes)
{
	static char buf[sizeof(struct fuse_out_header) + MESSAGE_BYTES];
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + (error ? 0 : bytes)), .error = error,
		.unique = h->unique,
	};

	memcpy(buf, &head, sizeof(head));
	if (!error && bytes)
		memcpy(buf + sizeof(head), out, bytes);
	/* A request that was interrupted is not waited for any more. */
	if (write(server_fd, buf, head.len) < 0 && errno != ENOENT)
		_exit(2);
}

static struct fuse_attr attr_of(uint64_t node)
{
	bool root = node == FUSE_ROOT_ID;

	return (struct fuse_attr){
		.ino = node, .size = root ? 0 : served.bytes, .mode = root ? S_IFDIR | 0755 :
		S_IFREG | 0644, .nlink = 1, .blksize = 4096,
	};
}

static void answer_read(const struct fuse_in_header *h, const struct fuse_read_in *in)
{
	static uint8_t data[MESSAGE_BYTES];
	uint64_t n = in->offset < served.bytes ? served.bytes - in->offset : 0;
	uint32_t most = __atomic_load_n(&fuse_orders->read_most, __ATOMIC_ACQUIRE);

	n = n < in->size ? n : in->size;
	n = most && n > most ? most : n;
	n = n < sizeof(data) ? n : sizeof(data);
	for (uint64_t i = 0; i < n; i++)
		data[i] = served.byte(in->offset + i);
	answer(h, 0, data, n);
}

static void serve_one(const union request *r)
{
	const struct fuse_init_in *init = (const void *)(&r->h + 1);
	struct fuse_init_out started = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = init->max_readahead,
		.max_background = 16, .congestion_threshold = 12, .max_write = 64 << 10,
		.time_gran = 1, .flags = served.init_flags,
	};
	struct fuse_entry_out entry = { .nodeid = 2, .attr = attr_of(2) };
	struct fuse_attr_out attr = { .attr = attr_of(r->h.nodeid) };
	const struct fuse_write_in *write_in = (const void *)(&r->h + 1);
	struct fuse_write_out written = { };
	struct fuse_open_out opened = { .fh = 1 };

	switch (r->h.opcode) {
	case FUSE_INIT:
		answer(&r->h, 0, &started, sizeof(started));
		break;
	case FUSE_LOOKUP:
		answer(&r->h, 0, &entry, sizeof(entry));
		break;
	case FUSE_WRITE:
		written.size = write_in->size;
		answer(&r->h, 0, &written, sizeof(written));
		break;
	case FUSE_SETATTR:
	case FUSE_GETATTR:
		answer(&r->h, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(&r->h, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		answer_read(&r->h, (const void *)(&r->h + 1));
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		answer(&r->h, 0, NULL, 0);
		break;
	default:
		answer(&r->h, -ENOSYS, NULL, 0);
	}
}

static bool wants_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* As @fate says it. */
static int ordered(const struct fuse_in_header *h)
{
	uint64_t opcodes = __atomic_load_n(&fuse_orders->opcodes, __ATOMIC_ACQUIRE);
	uint32_t uid = fuse_orders->only_uid;

	if (h->opcode >= 64 || !(opcodes >> h->opcode & 1) || (uid && h->uid != uid))
		return 0;
	__atomic_add_fetch(&fuse_orders->ignored, 1, __ATOMIC_RELEASE);
	return fuse_orders->error ? -(int)fuse_orders->error : 1;
}

static int fate_of(const struct fuse_in_header *h)
{
	int rc = ordered(h);

	/* Without its first answer there is no file system. */
	return rc || !served.fate || h->opcode == FUSE_INIT ? rc : served.fate(h->opcode);
}

static void serve_files(void)
{
	static union request r;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(served.seconds);
	while (read(server_fd, &r, sizeof(r)) > 0) {
		if (!wants_answer(r.h.opcode))
			continue;
		rc = fate_of(&r.h);
		if (!rc)
			serve_one(&r);
		else if (rc < 0)
			answer(&r.h, rc, NULL, 0);
	}
	_exit(0);
}

static int mount_it(void)
{
	char options[128];

	mkdir(served.mountpoint, 0700);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=0%s", server_fd,
		 served.uid, served.for_all ? ",allow_other" : "");
	return mount("silent", served.mountpoint, "fuse", MS_NOSUID | MS_NODEV, options);
}

static int share_orders(void)
{
	if (!fuse_orders)
		fuse_orders = mmap(NULL, sizeof(*fuse_orders), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuse_orders == MAP_FAILED)
		return -1;
	*fuse_orders = (struct fuse_orders){ 0 };
	return 0;
}

const char *fuse_server_start(const struct fuse_server *s)
{
	served = *s;
	server_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (server_fd < 0)
		return "this kernel has no FUSE";
	if (share_orders() || mount_it()) {
		close(server_fd);
		return "FUSE cannot be mounted";
	}
	server = fork();
	if (!server)
		serve_files();
	close(server_fd);
	return server < 0 ? "FUSE cannot be served" : NULL;
}

void fuse_server_end(void)
{
	if (server <= 0)
		return;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
	umount2(served.mountpoint, MNT_DETACH);
}
