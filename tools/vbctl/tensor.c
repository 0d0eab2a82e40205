// SPDX-License-Identifier: MIT
/* vbctl tensor list: what a checkpoint holds, and which command takes it. */
#include "commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "common/size.h"
#include "common/summary.h"
#include "common/text.h"
#include "common/weight_int4.h"
#include "common/weights.h"

static bool needs_packing(enum vgpu_format format)
{
	return format != VGPU_FORMAT_I32 && format != VGPU_FORMAT_U8 &&
	       weights_used(format, WEIGHTS_KEEP) != format;
}

/* MXFP4_SPLIT: codes or scales of one of the matrices. */
static bool is_split(const struct weights *w, const struct vgpu_tensor *t)
{
	if (t->dtype != VGPU_DTYPE_U8 && t->dtype != VGPU_DTYPE_F4_E2M1 &&
	    t->dtype != VGPU_DTYPE_F8_E8M0)
		return false;
	for (size_t i = 0; i < w->count; i++) {
		const struct weight *m = &w->list[i];

		if (m->format == VGPU_FORMAT_MXFP4_SPLIT &&
		    ((m->file == t->file && m->offset == t->offset) ||
		     (m->scales_file == t->file && m->scales_offset == t->offset)))
			return true;
	}
	return false;
}

/* The layer of AWQ or GPTQ that it is a part of, or NULL. */
static const struct weight *layer_of(const struct vgpu_checkpoint *ck, const struct weights *w,
				     const struct vgpu_tensor *t)
{
	const struct vgpu_tensor *codes = weight_int4_codes(ck, t);

	for (size_t i = 0; i < w->count && codes; i++)
		if (w->list[i].layer.group && w->list[i].name == codes->name)
			return &w->list[i];
	return NULL;
}

/* What it is for a command: as it lies there, or packed first. */
static const char *operand_name(const struct vgpu_checkpoint *ck, const struct weights *w,
				const struct vgpu_tensor *t)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(t->dtype);
	enum vgpu_format format = info ? info->format : VGPU_FORMAT_NONE;
	const struct weight *layer = layer_of(ck, w, t);

	if (layer)
		return vgpu_format_name(layer->used);
	if (is_split(w, t))
		return vgpu_format_name(VGPU_FORMAT_MXFP4_SPLIT);
	if (format == VGPU_FORMAT_NONE)
		return "-";
	return vgpu_format_name(needs_packing(format) ? weights_used(format, WEIGHTS_KEEP) : format);
}

/* How it gets there: "" as it is. */
static const char *operand_how(const struct vgpu_checkpoint *ck, const struct weights *w,
			       const struct vgpu_tensor *t)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(t->dtype);
	enum vgpu_format format = info ? info->format : VGPU_FORMAT_NONE;

	if (layer_of(ck, w, t))
		return "exact";
	if (format == VGPU_FORMAT_NONE || !needs_packing(format) || is_split(w, t))
		return "";
	if (vgpu_pack_is_exact(format, weights_used(format, WEIGHTS_KEEP)))
		return "exact";
	return format == VGPU_FORMAT_F64 ? "packed" : "requantised";
}

static void print_tensor(const struct vgpu_checkpoint *ck, const struct weights *w,
			 const struct vgpu_tensor *t)
{
	const char *how = operand_how(ck, w, t);
	char shape[96] = "";
	size_t used = 0;

	for (uint32_t d = 0; d < t->rank && used < sizeof(shape); d++)
		used += (size_t)snprintf(shape + used, sizeof(shape) - used, "[%" PRIu64 "]",
					 t->shape[d]);
	text_print(stdout, t->name, 56, true);
	printf(" %-8.8s %-20s %10s  file %u @ %" PRIu64 "  %s%s%s\n", t->dtype_name, shape,
	       size_text(t->bytes).s, t->file, t->offset,
	       operand_name(ck, w, t), *how ? ", " : "", how);
}

static void add_tensor(struct json_object *list, const struct vgpu_checkpoint *ck,
		       const struct weights *w, const struct vgpu_tensor *t)
{
	struct json_object *item = summary_item(list), *shape;

	summary_text(item, "name", t->name);
	summary_text(item, "dtype", t->dtype_name);
	summary_text(item, "format", operand_name(ck, w, t));
	summary_text(item, "how", operand_how(ck, w, t));
	shape = summary_list(item, "shape");
	for (uint32_t d = 0; shape && d < t->rank; d++)
		json_object_array_add(shape, json_object_new_uint64(t->shape[d]));
	summary_bytes(item, "bytes", t->bytes);
	summary_bytes(item, "file", t->file);
	summary_bytes(item, "offset", t->offset);
}

static int list(const char *path, const char *match, bool json)
{
	struct json_object *o = json ? summary_new("tensor list") : NULL, *tensors;
	struct vgpu_checkpoint *ck;
	struct vgpu_error error;
	struct weights w;
	uint64_t bytes = 0;
	size_t shown = 0;

	if (vgpu_checkpoint_open(path, &ck, &error)) {
		json_object_put(o);
		return cli_fail("%s", error.text);
	}
	if (weights_list(ck, WEIGHTS_KEEP, &w)) {
		vgpu_checkpoint_close(ck);
		json_object_put(o);
		return cli_fail("out of memory");
	}
	tensors = summary_list(o, "tensors");
	for (size_t i = 0; i < vgpu_checkpoint_tensor_count(ck); i++) {
		const struct vgpu_tensor *t = vgpu_checkpoint_tensor(ck, i);

		if (match && !strstr(t->name, match))
			continue;
		if (json)
			add_tensor(tensors, ck, &w, t);
		else
			print_tensor(ck, &w, t);
		bytes += t->bytes;
		shown++;
	}
	if (json) {
		summary_bytes(o, "bytes", bytes);
		summary_print(o);
	} else {
		printf("%zu tensors, %s in %zu files\n", shown, size_text(bytes).s,
		       vgpu_checkpoint_file_count(ck));
	}
	weights_free(&w);
	vgpu_checkpoint_close(ck);
	return CLI_OK;
}

int vbctl_tensor_list(int argc, char **argv)
{
	const char *match = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{ "match", CLI_TEXT, &match, "TEXT", "only tensors with TEXT in their name", NULL, 0,
		  0 },
		{ "json", CLI_FLAG, &json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbctl tensor list", "FILE", "The tensors of a .safetensors or .gguf checkpoint.",
		options, 1, 1,
		"The last column is the operand format, - where no command takes the type. Of types\n"
		"that are packed first it says whether they keep their values or are rounded once\n"
		"more; mxfp4-split are the codes and the scales of one matrix, U8 in the file, int4 the\n"
		"tensors of a layer of AWQ or GPTQ.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	return rc == CLI_RUN ? list(argv[1], match, json) : rc;
}
