// SPDX-License-Identifier: MIT
/* Huge pages: asked for, and where there are none it is said why. */
#include "exec/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <cmocka.h>

#define TIER_BYTES	((size_t)32 << 20)

static char text[VGPU_PAGES_TEXT];

/* Memory as a tier's: aligned, not touched. */
static uint8_t *memory_new(uint8_t **whole)
{
	uint8_t *p = mmap(NULL, TIER_BYTES + VGPU_HUGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	*whole = p;
	return (uint8_t *)(((uintptr_t)p + VGPU_HUGE_BYTES - 1) & ~(VGPU_HUGE_BYTES - 1));
}

/* KiB of huge pages between two addresses, by the kernel's own count. */
static unsigned long huge_kib(const uint8_t *from)
{
	unsigned long kib = 0, begin, end, n;
	FILE *f = fopen("/proc/self/smaps", "r");
	int inside = 0;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = (uintptr_t)from >= begin && (uintptr_t)from < end;
		else if (inside && sscanf(line, "AnonHugePages: %lu kB", &n) == 1)
			kib += n;
	}
	fclose(f);
	return kib;
}

static unsigned long asked_and_touched(void)
{
	uint8_t *whole, *p = memory_new(&whole);
	unsigned long kib;

	vgpu_pages_ask(p, TIER_BYTES, text);
	memset(p, 1, TIER_BYTES);
	kib = huge_kib(p);
	munmap(whole, TIER_BYTES + VGPU_HUGE_BYTES);
	return kib;
}

static void what_is_said_is_what_comes(void **state)
{
	unsigned long kib = asked_and_touched();

	(void)state;
	if (strcmp(text, "2 MiB")) {
		assert_int_equal(strncmp(text, "small: ", 7), 0);
		assert_int_equal(kib, 0);
		return;
	}
	if (!kib) {
		print_message("SKIP: no 2 MiB of memory are free in one piece\n");
		skip();
	}
	assert_true(kib >= 2048);
}

static void switched_off_for_the_process_is_said(void **state)
{
	(void)state;
	assert_int_equal(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	assert_int_equal(asked_and_touched(), 0);
	assert_int_equal(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
	assert_string_equal(text, "small: huge pages are switched off for this process");
}

static void a_tier_below_a_huge_page_is_said(void **state)
{
	uint8_t *whole, *p = memory_new(&whole);

	(void)state;
	vgpu_pages_ask(p, 640u << 10, text);
	assert_string_equal(text, "small: the tier of 640 KiB is smaller than a huge page");
	munmap(whole, TIER_BYTES + VGPU_HUGE_BYTES);
}

/* Memory that madvise() refuses, as all is on a kernel that was built without. */
static void a_kernel_that_refuses_is_said(void **state)
{
	(void)state;
	vgpu_pages_ask((void *)1, TIER_BYTES, text);
	assert_string_equal(text, "small: the kernel has no huge pages (madvise: Invalid argument)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_what_comes),
		cmocka_unit_test(switched_off_for_the_process_is_said),
		cmocka_unit_test(a_tier_below_a_huge_page_is_said),
		cmocka_unit_test(a_kernel_that_refuses_is_said),
	};

	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
