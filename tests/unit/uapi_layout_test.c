// SPDX-License-Identifier: MIT
/*
 * The promises of the UAPI header that a compiler or a reader of its text can check.
 */
#include <linux/vblackwell.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROOT	TEST_DATA "/../../.."

struct field {
	const char *type, *member;	/* member NULL: the structure itself */
	size_t offset, bytes, real_offset, real_bytes;
};

#define STRUCT(type, bytes)	{ #type, NULL, 0, bytes, 0, sizeof(struct type) },
#define FIELD(type, member, offset, bytes) \
	{ #type, #member, offset, bytes, offsetof(struct type, member), \
	  sizeof(((struct type *)0)->member) },

static const struct field fields[] = {
#include "uapi_layout.h"
};
#define FIELDS	(sizeof(fields) / sizeof(fields[0]))

#define NUMBER(name, value)	#name,
#define REQUEST(name, number)	#name,

static const char *const agreed[] = {
#include "uapi_numbers.h"
};
#define AGREED	(sizeof(agreed) / sizeof(agreed[0]))

static void uapi_layout_is_the_one_agreed(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < FIELDS; i++) {
		if (fields[i].offset != fields[i].real_offset ||
		    fields[i].bytes != fields[i].real_bytes)
			print_error("%s.%s\n", fields[i].type,
				    fields[i].member ? fields[i].member : "");
		assert_int_equal(fields[i].real_offset, fields[i].offset);
		assert_int_equal(fields[i].real_bytes, fields[i].bytes);
	}
}

/* Member follows member, and the last one ends the structure. */
static void uapi_structures_have_no_holes(void **state)
{
	size_t i, end = 0, bytes = 0;

	(void)state;
	for (i = 0; i < FIELDS; i++) {
		if (!fields[i].member) {
			assert_int_equal(end, bytes);
			assert_int_equal(fields[i].bytes % 4, 0);
			bytes = fields[i].bytes;
			end = 0;
			continue;
		}
		assert_int_equal(fields[i].offset, end);
		end += fields[i].bytes;
	}
	assert_int_equal(end, bytes);
}

static void uapi_ioctl_structures_begin_with_their_size(void **state)
{
	size_t i, seen = 0;

	(void)state;
	for (i = 0; i + 1 < FIELDS; i++) {
		if (fields[i].member || strncmp(fields[i].type, "vb_ioc_", 7))
			continue;
		seen++;
		assert_string_equal(fields[i + 1].member, "size");
		assert_int_equal(fields[i + 1].bytes, 4);
	}
	assert_true(seen >= 30);
}

static void uapi_commands_begin_with_their_header(void **state)
{
	size_t i, seen = 0;

	(void)state;
	for (i = 0; i + 1 < FIELDS; i++) {
		if (fields[i].member || strncmp(fields[i].type, "vb_cmd_", 7) ||
		    !strcmp(fields[i].type, "vb_cmd_header"))
			continue;
		seen++;
		assert_string_equal(fields[i + 1].member, "h");
		assert_int_equal(fields[i].bytes % 8, 0);
	}
	assert_int_equal(seen, VB_CMD_COUNT - 1);
	assert_int_equal(sizeof(struct vb_table_entry), 32);
	assert_int_equal(sizeof(struct vb_stream_header) % 8, 0);
}

/* The header as text; what follows reads it line by line. */
static FILE *header_open(void)
{
	FILE *f = fopen(ROOT "/include/uapi/linux/vblackwell.h", "r");

	assert_non_null(f);
	return f;
}

static bool is_listed(const char *type, const char *member)
{
	size_t i;

	for (i = 0; i < FIELDS; i++)
		if (!strcmp(fields[i].type, type) &&
		    (member ? fields[i].member && !strcmp(fields[i].member, member) :
			      !fields[i].member))
			return true;
	return false;
}

static bool is_fixed_width(const char *type)
{
	static const char *const types[] = { "__u8", "__u16", "__u32", "__u64", "__s32" };
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

/* "\t__u32 name[2];" or "\tstruct vb_x name;" to type and name. */
static bool member_parse(const char *line, char *type, char *name)
{
	char first[64], second[64], third[64];
	int words = sscanf(line, "\t%63s %63[A-Za-z0-9_] %63[A-Za-z0-9_]", first, second, third);

	if (words < 2)
		return false;
	strcpy(type, words == 3 ? second : first);
	strcpy(name, words == 3 ? third : second);
	if (words == 3)
		assert_string_equal(first, "struct");
	return true;
}

static void uapi_every_member_is_listed_and_of_fixed_width(void **state)
{
	char line[256], type[64] = "", member_type[64], member[64];
	size_t members = 0, structs = 0, i, listed = 0;
	FILE *f = header_open();
	bool inside = false;

	(void)state;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "struct %63[a-z_0-9] {", type) == 1 && strstr(line, " {")) {
			assert_true(is_listed(type, NULL));
			inside = true;
			structs++;
		} else if (line[0] == '}') {
			inside = false;
		} else if (inside && member_parse(line, member_type, member)) {
			assert_null(strchr(line, '*') && !strstr(line, "/*") ? line : NULL);
			assert_null(strchr(line, ':'));
			if (strncmp(member_type, "vb_", 3))
				assert_true(is_fixed_width(member_type));
			assert_true(is_listed(type, member));
			members++;
		}
	}
	fclose(f);
	for (i = 0; i < FIELDS; i++)
		listed += fields[i].member == NULL;
	assert_int_equal(structs, listed);
	assert_int_equal(members, FIELDS - listed);
}

/* Lines "VB_NAME = number" of an enum, or "#define VB_IOC_NAME _IOWR(magic, number". */
#define NUMBERS_MAX	256

struct numbers {
	char name[NUMBERS_MAX][64];
	unsigned long value[NUMBERS_MAX];
	size_t count, total;
};

static void numbers_add(struct numbers *n, const char *name, unsigned long value)
{
	size_t i;

	/* Counts are no numbers of their own; what stands behind one reuses it. */
	if (strlen(name) > 6 && !strcmp(name + strlen(name) - 6, "_COUNT") &&
	    strcmp(name, "VB_COUNT_COUNT"))
		return;
	for (i = 0; i < n->count; i++) {
		if (n->value[i] == value)
			print_error("%s and %s are both %lu\n", n->name[i], name, value);
		assert_true(n->value[i] != value);
	}
	assert_true(n->count < NUMBERS_MAX);
	strcpy(n->name[n->count], name);
	n->value[n->count++] = value;
	n->total++;
}

static void numbers_scan(struct numbers *n, const char *line)
{
	char name[64];
	unsigned long value;
	int used;

	while (*line) {
		if (sscanf(line, "VB_%59[A-Z0-9_] = %lu%n", name + 3, &value, &used) == 2) {
			memcpy(name, "VB_", 3);
			numbers_add(n, name, value);
			line += used;
		} else {
			line++;
		}
	}
}

static void uapi_numbers_are_unique(void **state)
{
	static struct numbers n, ioctls;
	char line[256], name[64];
	FILE *f = header_open();
	bool inside = false;
	unsigned int nr;

	(void)state;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "enum ", 5)) {
			inside = true;
			n.count = 0;
		}
		if (inside)
			numbers_scan(&n, line);
		if (strstr(line, "};"))
			inside = false;
		if (sscanf(line, "#define %63s _IOWR(VB_IOC_MAGIC, %x", name, &nr) == 2)
			numbers_add(&ioctls, name, nr);
	}
	fclose(f);
	assert_true(n.total > 80);
	assert_true(ioctls.total > 30);
}

static bool is_agreed(const char *name)
{
	size_t i, len = strlen(name);

	if (len > 6 && !strcmp(name + len - 6, "_COUNT"))
		return true;
	for (i = 0; i < AGREED; i++)
		if (!strcmp(agreed[i], name))
			return true;
	print_error("%s has no line in uapi_numbers.h\n", name);
	return false;
}

/* "#define VB_NAME number"; a macro with arguments is none.  Return: how many it names. */
static size_t define_look(const char *line)
{
	char name[64];

	if (sscanf(line, "#define %63[A-Z0-9_]", name) != 1 || strncmp(name, "VB_", 3) ||
	    line[8 + strlen(name)] == '(')
		return 0;
	assert_true(is_agreed(name));
	return 1;
}

/* "VB_NAME = number", some in a line. */
static size_t enum_look(const char *line)
{
	char name[64] = "VB_";
	size_t seen = 0;
	int used;

	while (*line) {
		used = 0;
		if (sscanf(line, "VB_%59[A-Z0-9_] = %n", name + 3, &used) == 1 && used) {
			assert_true(is_agreed(name));
			seen++;
		}
		line += used ? used : 1;
	}
	return seen;
}

/* The compiler holds their values against the list, see uapi_static.c. */
static void uapi_every_number_is_listed(void **state)
{
	FILE *f = header_open();
	char line[256];
	size_t seen = 0;

	(void)state;
	while (fgets(line, sizeof(line), f))
		seen += define_look(line) + enum_look(line);
	fclose(f);
	assert_true(seen >= AGREED);
}

static int compile(const char *flags, const char *source)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "cc %s -std=gnu11 -Wall -Wextra -Wpadded -Werror -fsyntax-only "
		 "-I" ROOT "/include/uapi %s", flags, source);
	return system(command);
}

static void uapi_layout_is_the_same_for_64_bits_without_padding(void **state)
{
	(void)state;
	if (system("cc --version >/dev/null 2>&1")) {
		print_message("# SKIP no compiler \"cc\" in PATH\n");
		skip();
	}
	assert_int_equal(compile("", ROOT "/tests/unit/uapi_static.c"), 0);
}

static void uapi_layout_is_the_same_for_32_bits_without_padding(void **state)
{
	(void)state;
	if (system("echo '#include <linux/ioctl.h>\n#include <stddef.h>' | "
		   "cc -m32 -fsyntax-only -x c - >/dev/null 2>&1")) {
		print_message("# SKIP the compiler cannot compile with -m32 "
			      "(install gcc-multilib)\n");
		skip();
	}
	assert_int_equal(compile("-m32", ROOT "/tests/unit/uapi_static.c"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uapi_layout_is_the_one_agreed),
		cmocka_unit_test(uapi_structures_have_no_holes),
		cmocka_unit_test(uapi_ioctl_structures_begin_with_their_size),
		cmocka_unit_test(uapi_commands_begin_with_their_header),
		cmocka_unit_test(uapi_every_member_is_listed_and_of_fixed_width),
		cmocka_unit_test(uapi_numbers_are_unique),
		cmocka_unit_test(uapi_every_number_is_listed),
		cmocka_unit_test(uapi_layout_is_the_same_for_64_bits_without_padding),
		cmocka_unit_test(uapi_layout_is_the_same_for_32_bits_without_padding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
