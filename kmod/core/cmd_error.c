// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sentences for people.  They are part of what users see in logs and tools:
 * tests/unit/cmd_test.c quotes them.
 */
#include "cmd_form.h"

struct text {
	char *at;
	size_t left;	/* with the NUL */
};

static void put(struct text *t, const char *s)
{
	while (*s && t->left > 1) {
		*t->at++ = *s++;
		t->left--;
	}
	*t->at = '\0';
}

static void put_digits(struct text *t, u64 value, u32 base)
{
	char digits[21], *d = digits + sizeof(digits) - 1;

	*d = '\0';
	do {
		*--d = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put(t, d);
}

static void put_hex(struct text *t, u64 value)
{
	put(t, "0x");
	put_digits(t, value, 16);
}

/* By name; packed ones, which are allowed together, by number: a sentence is short. */
static void put_formats(struct text *t, u64 mask)
{
	bool first = true;
	u32 format;

	put(t, mask & (mask - 1) ? "one of " : "");
	for (format = 0; format < 64; format++) {
		if (!((mask & ~VB_FORM_PACKED) >> format & 1))
			continue;
		put(t, first ? "" : ", ");
		put(t, vb_format_name(format));
		first = false;
	}
	if (!(mask & VB_FORM_PACKED))
		return;
	put(t, " or packed (");
	put_digits(t, VB_FORMAT_MXFP4_G16, 10);
	put(t, " .. ");
	put_digits(t, VB_FORM_PACKED_LAST, 10);
	put(t, ")");
}

static void put_subject(struct text *t, const struct vb_cmd_error *e)
{
	if (e->command == ~0u) {
		put(t, "stream header: ");
	} else {
		put(t, "command ");
		put_digits(t, e->command, 10);
		if (vb_cmd_form(e->opcode)) {
			put(t, " (");
			put(t, vb_cmd_name(e->opcode));
			put(t, ")");
		}
		put(t, ": ");
	}
	put(t, e->operand);
	if (!e->field)
		return;
	put(t, ".");
	put(t, e->field);
	if (e->fault == VB_FAULT_SHAPE || e->fault == VB_FAULT_STRIDE) {
		put(t, "[");
		put_digits(t, e->dim, 10);
		put(t, "]");
	}
}

/* Bits and floats in hexadecimal, formats by name, the rest in decimal. */
static void put_value(struct text *t, const struct vb_cmd_error *e, u64 value)
{
	if (e->must == VB_MUST_FORMAT) {
		put(t, vb_format_name((u32)value));
		put(t, " (");
		put_digits(t, value, 10);
		put(t, ")");
	} else if (e->fault == VB_FAULT_MAGIC || e->must == VB_MUST_BITS ||
		   e->must == VB_MUST_INCLUDE || e->must == VB_MUST_FINITE ||
		   e->must == VB_MUST_NOT_NEGATIVE || e->must == VB_MUST_POSITIVE) {
		put_hex(t, value);
	} else {
		put_digits(t, value, 10);
	}
}

static void put_other(struct text *t, const struct vb_cmd_error *e)
{
	const struct vb_cmd_form *form = vb_cmd_form(e->opcode);

	put(t, " overlaps ");
	put(t, form && e->limit < form->operand_count ? form->operands[e->limit].name : "?");
	put(t, " from byte ");
	put_digits(t, e->value, 10);
	put(t, " of their BO");
}

/* Errors that are not "is this, must be that"; false for those that are. */
static bool put_special(struct text *t, const struct vb_cmd_error *e)
{
	switch (e->must) {
	case VB_MUST_EXIST:
		put(t, e->fault == VB_FAULT_BO_INDEX ? " names a BO, but the list is empty" :
						       " is missing");
		return true;
	case VB_MUST_NOT_BE_SEALED:
		put(t, " ");
		put_digits(t, e->value, 10);
		put(t, " is sealed and would be written");
		return true;
	case VB_MUST_FIT:
		put(t, " does not fit in 64 bits");
		return true;
	case VB_MUST_DISJOINT:
		put_other(t, e);
		return true;
	}
	return false;
}

static void put_limit(struct text *t, const struct vb_cmd_error *e)
{
	static const char *const relation[] = {
		[VB_MUST_EQUAL] = "", [VB_MUST_MIN] = "at least ",
		[VB_MUST_MAX] = "at most ", [VB_MUST_MULTIPLE] = "a multiple of ",
		[VB_MUST_DIVIDE] = "a divisor of ", [VB_MUST_BITS] = "within ",
		[VB_MUST_INCLUDE] = "with ", [VB_MUST_FORMAT] = "",
		[VB_MUST_FINITE] = "finite", [VB_MUST_NOT_NEGATIVE] = "finite and at least 0",
		[VB_MUST_POSITIVE] = "finite and above 0",
	};

	put(t, ", must be ");
	put(t, relation[e->must]);
	if (e->must == VB_MUST_FORMAT)
		put_formats(t, e->limit);
	else if (e->must < VB_MUST_FORMAT)
		put_value(t, e, e->limit);
}

void vb_cmd_error_format(const struct vb_cmd_error *error, char *text, size_t len)
{
	struct text t = { text, len };

	put_subject(&t, error);
	if (put_special(&t, error))
		return;
	put(&t, " is ");
	put_value(&t, error, error->value);
	put_limit(&t, error);
}
