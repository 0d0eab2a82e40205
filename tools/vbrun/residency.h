/* SPDX-License-Identifier: MIT */
/* Where every object lies, in bars of text. */
#ifndef VBRUN_RESIDENCY_H
#define VBRUN_RESIDENCY_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vgpu.h"

#define RESIDENCY_ROW_OBJECTS 8u

/**
 * struct residency_row - objects that belong together, and what people call them
 * @name: label
 * @bo: the objects; a NULL ends them, a row without any is left out
 * @more, @more_count: further objects, NULLs among them
 */
struct residency_row {
	const char *name;
	struct vgpu_bo *bo[RESIDENCY_ROW_OBJECTS];
	struct vgpu_bo *const *more;
	size_t more_count;
};

/* What the letters of a bar mean. */
extern const char residency_key[];

/* Print a bar for each row, and the key to the letters. */
void residency_print(const struct residency_row *rows, uint32_t count, FILE *to);
/* The same to print when the objects are gone: free() it. NULL: no memory. */
char *residency_text(const struct residency_row *rows, uint32_t count);
/* The same as numbers: list "objects" of @o. */
void residency_summary(const struct residency_row *rows, uint32_t count, struct json_object *o);

#endif
