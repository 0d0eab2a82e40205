// SPDX-License-Identifier: MIT
/* Mappings of a client: made, used, torn, moved, handed to the kernel for I/O. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	4096ull

static __thread sigjmp_buf fault;
static __thread volatile bool expected;

static void on_fault(int sig)
{
	if (expected)
		siglongjmp(fault, 1);
	signal(sig, SIG_DFL);
}

/*
 * The kernel places mappings from the top down, far above: what is unmapped here never becomes
 * memory of the C library or of a ring, which the next mapping of ours would go over.
 */
#define LOW	(1ull << 40)

int memory_init(struct memory *m, uint32_t who, bool checked)
{
	struct sigaction act = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	/* Requests may write some way behind the last cell: there is nothing. */
	uint64_t bytes = (CELLS + 1) * CELL_BYTES;

	m->who = who;
	m->checked = checked;
	m->base = mmap((void *)(checked ? LOW : 2 * LOW), bytes, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (m->base == MAP_FAILED)
		return -errno;
	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGSEGV, &act, NULL);
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static char *cell(struct memory *m, struct chance *c)
{
	return m->base + (one_in(c, 2) ? atomic_load(&m->last) : below(c, CELLS)) * CELL_BYTES;
}

static char *page_in(struct memory *m, struct chance *c, uint64_t *out_bytes)
{
	uint64_t pages = CELL_BYTES / PAGE, first = one_in(c, 2) ? 0 : below(c, pages);

	*out_bytes = (1 + below(c, pages - first)) * PAGE;
	return cell(m, c) + first * PAGE;
}

void *memory_any(struct memory *m, struct chance *c)
{
	uint64_t bytes;

	switch (below(c, 8)) {
	case 0:
		return NULL;
	case 1:
		return (void *)chance(c);
	case 2:
		return page_in(m, c, &bytes) + PAGE - below(c, 64);
	default:
		return page_in(m, c, &bytes);
	}
}

void memory_map(struct memory *m, struct chance *c, int fd, uint32_t handle)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
				     PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ | PROT_EXEC };
	uint64_t offset = (uint64_t)handle << 46;
	/* What is longer than the object is refused: mostly it is not much longer than a chunk. */
	uint64_t most = one_in(c, 4) ? CELL_BYTES : least(2 * (uint64_t)fuzz->chunk_bytes, CELL_BYTES);
	uint64_t bytes = (1 + below(c, most / PAGE)) * PAGE;
	int flags = one_in(c, 12) ? MAP_PRIVATE : MAP_SHARED;
	uint32_t to = (uint32_t)below(c, CELLS);

	if (one_in(c, 3))
		offset += below(c, 64) * PAGE;
	if (one_in(c, 20))
		offset = chance(c) & ~(PAGE - 1);
	if (one_in(c, 2))
		bytes = (bytes + fuzz->chunk_bytes - 1) / fuzz->chunk_bytes * fuzz->chunk_bytes;
	if (bytes > CELL_BYTES)
		bytes = CELL_BYTES;
	if (one_in(c, 10))
		flags |= MAP_POPULATE;
	if (mmap(m->base + to * CELL_BYTES, bytes, prots[below(c, sizeof(prots) / sizeof(prots[0]))],
		 flags | MAP_FIXED, fd, (off_t)offset) != MAP_FAILED)
		atomic_store(&m->last, to);
}

/* ---- access by the CPU ---- */

static void check_word(struct memory *m, const volatile uint64_t *at)
{
	uint64_t word = *at;

	if (m->checked && !fuzz_may_see(m->who, word))
		fuzz_problem("client %u read a foreign word %#llx in a mapping", m->who,
			     (unsigned long long)word);
}

/* @from and every @step bytes behind it; no more than the mapping that it hits allows. */
static void use_words(struct memory *m, char *from, uint64_t bytes, uint64_t step, bool write)
{
	if (sigsetjmp(fault, 0)) {
		expected = false;
		return;
	}
	expected = true;
	for (volatile uint64_t at = 0, n = 0; at + PAGE <= bytes && n < 16; at += step, n++) {
		check_word(m, (uint64_t *)(from + at));
		if (write)
			*(volatile uint64_t *)(from + at) = fuzz_word(m->who);
	}
	expected = false;
}

static void touch(struct memory *m, struct chance *c)
{
	uint64_t bytes, step = one_in(c, 2) ? PAGE : fuzz->chunk_bytes;
	char *from = page_in(m, c, &bytes);

	use_words(m, from + below(c, PAGE / 8) * 8, bytes, step, one_in(c, 2));
}

void memory_put(void *to, const void *from, size_t bytes)
{
	if (!sigsetjmp(fault, 0)) {
		expected = true;
		memcpy(to, from, bytes);
	}
	expected = false;
}

/* ---- access by the kernel ---- */

static void through_a_pipe(struct memory *m, struct chance *c)
{
	uint64_t bytes, word = fuzz_word(m->who);
	char *at = page_in(m, c, &bytes);
	struct iovec iov = { at, PAGE };
	int fds[2];

	if (pipe(fds))
		return;
	switch (below(c, 3)) {
	case 0:
		if (write(fds[1], &word, 8) == 8)
			(void)!read(fds[0], at + below(c, 100) * 8, 8);
		break;
	case 1:
		(void)!write(fds[1], at, bytes < 16 * PAGE ? bytes : 16 * PAGE);
		break;
	default:
		/* The page stays lent until the pipe goes. */
		vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK);
		usleep((useconds_t)below(c, 3000));
	}
	close(fds[0]);
	close(fds[1]);
}

static void from_the_disk(struct memory *m, struct chance *c)
{
	uint64_t bytes;
	char *at = page_in(m, c, &bytes);

	if (fuzz->disk >= 0)
		(void)!pread(fuzz->disk, at, bytes < 1u << 20 ? bytes : 1u << 20,
			     (off_t)(below(c, 64) << 20));
}

/* ---- what happens to mappings ---- */

/* What it becomes stays within a cell: behind the last one lies somebody else's memory. */
static void remap(struct memory *m, struct chance *c)
{
	uint64_t bytes, to_bytes;
	char *from = page_in(m, c, &bytes), *to = page_in(m, c, &to_bytes);

	switch (below(c, 4)) {
	case 0:
		mremap(from, bytes, below(c, bytes) + 1, 0);
		break;
	case 1:
		bytes = least(bytes, to_bytes);
		mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
		break;
	default:
		/* 0: another mapping of the same pages. */
		mremap(from, one_in(c, 8) ? 0 : bytes,
		       one_in(c, 4) ? to_bytes : least(bytes, to_bytes),
		       MREMAP_MAYMOVE | MREMAP_FIXED, to);
	}
}

static void advise(struct memory *m, struct chance *c)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_WILLNEED, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD, MADV_PAGEOUT, MADV_FREE,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, 25 /* MADV_COLLAPSE */,
		MADV_SEQUENTIAL, MADV_MERGEABLE, MADV_WIPEONFORK, MADV_DODUMP,
	};
	uint64_t bytes;
	char *at = page_in(m, c, &bytes);

	madvise(at, bytes, advices[below(c, sizeof(advices) / sizeof(advices[0]))]);
}

static void protect(struct memory *m, struct chance *c)
{
	uint64_t bytes;
	char *at = page_in(m, c, &bytes);

	mprotect(at, bytes, (int)below(c, 8));
}

/* A child has the same mappings for a moment, and goes in one way or another. */
static void fork_one(struct memory *m, struct chance *c)
{
	pid_t pid = fork();

	if (!pid) {
		struct chance own = { chance(c) };

		alarm(20);
		for (uint64_t n = below(&own, 8); n; n--)
			touch(m, &own);
		if (one_in(&own, 2))
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	if (pid < 0)
		return;
	if (one_in(c, 4)) {
		usleep((useconds_t)below(c, 2000));
		kill(pid, SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

static void look(struct memory *m, struct chance *c)
{
	unsigned char vec[CELL_BYTES / PAGE];
	uint64_t bytes;
	char *at = page_in(m, c, &bytes);

	switch (below(c, 4)) {
	case 0:
		mincore(at, bytes, vec);
		break;
	case 1:
		msync(at, bytes, MS_SYNC);
		break;
	case 2:
		mlock2(at, PAGE * 4, one_in(c, 2) ? MLOCK_ONFAULT : 0);
		break;
	default:
		munlock(at, bytes);
	}
}

void memory_step(struct memory *m, struct chance *c)
{
	uint64_t bytes;
	char *at;

	switch (below(c, 16)) {
	case 0:
		at = page_in(m, c, &bytes);
		munmap(at, bytes);
		break;
	case 1:
		remap(m, c);
		break;
	case 2:
		protect(m, c);
		break;
	case 3:
		advise(m, c);
		break;
	case 4:
		look(m, c);
		break;
	case 5:
		if (one_in(c, 6))
			fork_one(m, c);
		break;
	case 6:
		through_a_pipe(m, c);
		break;
	case 7:
		from_the_disk(m, c);
		break;
	default:
		touch(m, c);
	}
}
