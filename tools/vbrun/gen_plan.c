// SPDX-License-Identifier: MIT
#include "gen_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gen_file.h"

static const char *const dtypes[] = {
	[GEN_F32] = "F32",
	[GEN_BF16] = "BF16",
	[GEN_FP4_BLOCKS] = "U8",
	[GEN_FP4_SCALES] = "U8",
	[GEN_POSITION] = "I64",
};

static struct gen_tensor *add_tensor(struct gen_plan *plan)
{
	size_t more = plan->room ? plan->room * 2 : 64;
	struct gen_tensor *tensors;

	if (plan->count == plan->room) {
		tensors = reallocarray(plan->tensors, more, sizeof(*tensors));
		if (!tensors)
			return NULL;
		plan->tensors = tensors;
		plan->room = more;
	}
	return &plan->tensors[plan->count++];
}

uint64_t gen_plan_add(struct gen_plan *plan, uint32_t rank, const uint64_t *shape,
		      uint32_t parts, const struct gen_matrix *matrix, const char *format,
		      ...)
{
	struct gen_tensor *t = add_tensor(plan);
	va_list args;

	if (!t) {
		plan->failed = true;
		return 0;
	}
	va_start(args, format);
	vsnprintf(t->name, sizeof(t->name), format, args);
	va_end(args);
	t->rank = rank;
	memcpy(t->shape, shape, rank * sizeof(*shape));
	t->parts = parts;
	t->matrix = *matrix;
	t->matrix.stream = gen_stream(plan->seed, plan->count);
	return t->matrix.stream;
}

static uint64_t tensor_bytes(const struct gen_tensor *t)
{
	return (uint64_t)t->parts * t->matrix.rows * gen_row_bytes(&t->matrix);
}

static void print_tensor(FILE *out, const struct gen_tensor *t, uint64_t begin)
{
	uint32_t i;

	fprintf(out, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name,
		dtypes[t->matrix.element]);
	for (i = 0; i < t->rank; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", t->shape[i]);
	fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
		begin + tensor_bytes(t));
}

/* The header with its length in front; padded, so that data begins at a multiple of 8. */
static int make_header(const struct gen_plan *plan, char **out, size_t *out_bytes,
		       uint64_t *data_bytes)
{
	FILE *text = open_memstream(out, out_bytes);
	uint64_t begin = 0, length;
	bool bad;
	size_t i;

	if (!text)
		return -ENOMEM;
	fprintf(text, "%8s{\"__metadata__\":{\"format\":\"pt\",\"generator\":\"vbrun gen\",\"seed\":\"%" PRIu64 "\"}",
		"", plan->seed);
	for (i = 0; i < plan->count; i++) {
		putc(',', text);
		print_tensor(text, &plan->tensors[i], begin);
		begin += tensor_bytes(&plan->tensors[i]);
	}
	putc('}', text);
	while (!ferror(text) && ftell(text) % 8)
		putc(' ', text);
	bad = ferror(text);
	if (fclose(text) || bad)
		return -ENOMEM;
	length = *out_bytes - sizeof(length);
	memcpy(*out, &length, sizeof(length));
	*data_bytes = begin;
	return 0;
}

static int write_header(struct gen_file *f, const char *header, size_t bytes)
{
	size_t at, step;
	void *room;
	int rc;

	for (at = 0; at < bytes; at += step) {
		step = bytes - at < 65536 ? bytes - at : 65536;
		rc = gen_file_room(f, step, &room);
		if (rc)
			return rc;
		memcpy(room, header + at, step);
	}
	return 0;
}

static int write_matrix(struct gen_file *f, const struct gen_values *values,
			const struct gen_matrix *m)
{
	size_t bytes = gen_row_bytes(m);
	uint32_t row;
	void *room;
	int rc;

	for (row = 0; row < m->rows; row++) {
		rc = gen_file_room(f, bytes, &room);
		if (rc)
			return rc;
		gen_values_row(values, m, row, room);
	}
	return 0;
}

static int write_tensors(struct gen_file *f, const struct gen_plan *plan,
			 const struct gen_values *values)
{
	uint32_t part;
	size_t i;
	int rc;

	for (i = 0; i < plan->count; i++) {
		const struct gen_tensor *t = &plan->tensors[i];
		struct gen_matrix m = t->matrix;

		for (part = 0; part < t->parts; part++) {
			m.stream = gen_stream(t->matrix.stream, part);
			rc = write_matrix(f, values, &m);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int write_file(struct gen_file *f, const struct gen_plan *plan, const char *header,
		      size_t header_bytes, struct vgpu_error *err)
{
	struct gen_values *values = gen_values_create();
	int rc;

	if (!values)
		return vbrun_fail(err, -ENOMEM, "out of memory for the table of values");
	rc = write_header(f, header, header_bytes);
	if (!rc)
		rc = write_tensors(f, plan, values);
	if (!rc)
		rc = gen_file_commit(f);
	gen_values_destroy(values);
	return rc;
}

int gen_plan_write(struct gen_plan *plan, const char *path, vbrun_gen_progress progress,
		   void *arg, struct vgpu_error *err)
{
	struct gen_file f;
	char *header = NULL;
	size_t header_bytes = 0;
	uint64_t data_bytes = 0;
	int rc = -ENOMEM;

	if (!plan->failed)
		rc = make_header(plan, &header, &header_bytes, &data_bytes);
	if (rc) {
		vbrun_fail(err, rc, "out of memory for a header of %zu tensors", plan->count);
		goto out;
	}
	rc = gen_file_create(&f, path, header_bytes + data_bytes, progress, arg, err);
	if (!rc)
		rc = write_file(&f, plan, header, header_bytes, err);
	gen_file_discard(&f);
out:
	free(header);
	free(plan->tensors);
	*plan = (struct gen_plan){ 0 };
	return rc;
}
