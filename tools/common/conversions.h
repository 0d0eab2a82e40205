/* SPDX-License-Identifier: MIT */
/* Which weights of a model are packed before they are used, by type, and what that changes. */
#ifndef TOOLS_CONVERSIONS_H
#define TOOLS_CONVERSIONS_H

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>

#include "common/weights.h"

/**
 * struct conversion - all tensors of one type that become one format
 * @type: as the file spells it
 * @from: of the weights
 * @to: what they are packed to
 * @tensors: how many
 * @source_bytes: in the files
 * @bytes: packed
 * @values: of all of them
 * @compared: values of which @error and @size are sums; 0: nothing was compared
 * @error: squares of the differences
 * @size: squares of the values
 */
struct conversion {
	const char *type;
	enum vgpu_format from, to;
	uint32_t tensors;
	uint64_t source_bytes, bytes, values, compared;
	double error, size;
};

/* A row for each type that is packed; no model has more. */
#define CONVERSIONS_MAX 32u

/**
 * struct conversions - of a model
 * @list: in the order of the first tensor of each
 * @count: entries
 */
struct conversions {
	struct conversion list[CONVERSIONS_MAX];
	uint32_t count;
};

/* Fill @out from the weights; nothing is compared yet. */
void conversions_list(const struct weights *w, struct conversions *out);

/* The row that a weight belongs to; NULL when it is used as it lies in the file. */
struct conversion *conversions_of(struct conversions *c, const struct weight *w);

/* A line for each, said plainly: same values, or rounded and how far. */
void conversions_print(const struct conversions *c, FILE *to);
/* The same as list "conversions" of @o. */
void conversions_summary(const struct conversions *c, struct json_object *o);

#endif
