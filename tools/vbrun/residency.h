/* SPDX-License-Identifier: MIT */
/* Where every object lies, one bar of text an object. */
#ifndef VBRUN_RESIDENCY_H
#define VBRUN_RESIDENCY_H

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>

#include "vgpu.h"

/**
 * struct residency_row - an object and what people call it
 * @name: label
 * @bo: the object; rows with NULL are left out
 */
struct residency_row {
	const char *name;
	struct vgpu_bo *bo;
};

/* Print a bar for each row, and the key to the letters. */
void residency_print(const struct residency_row *rows, uint32_t count, FILE *to);
/* The same as numbers: list "objects" of @o. */
void residency_summary(const struct residency_row *rows, uint32_t count, struct json_object *o);

#endif
