// SPDX-License-Identifier: MIT
#include "common/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/sibling.h"
#include "common/weight_int4.h"
#include "common/weight_scales.h"

/* No type has a higher number. */
#define DTYPE_END 64

const char *const weights_packs[] = { "keep", "int8", "mxfp4", NULL };

static bool is_float(enum vgpu_format format)
{
	return format == VGPU_FORMAT_F32 || format == VGPU_FORMAT_F16 || format == VGPU_FORMAT_BF16;
}

/* Types that exist as an operand but not as a weight (integers) give NONE. */
static enum vgpu_format format_of(enum vgpu_dtype dtype)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(dtype);

	if (!info || info->format == VGPU_FORMAT_I32 || info->format == VGPU_FORMAT_U8)
		return VGPU_FORMAT_NONE;
	return info->format;
}

/* Blocks that products read as they lie; to pack them to what is asked for would only lose. */
static bool is_taken(enum vgpu_format format)
{
	return format == VGPU_FORMAT_MXFP4 || format == VGPU_FORMAT_MXFP4_SPLIT ||
	       format == VGPU_FORMAT_Q8_0;
}

/* What holds the values of what is_taken(). */
static enum vgpu_format grouped(enum vgpu_format format)
{
	return vgpu_pack_is_exact(format, VGPU_FORMAT_MXFP4_G16) ? VGPU_FORMAT_MXFP4_G16 :
								   VGPU_FORMAT_INT8_G16;
}

enum vgpu_format weights_used(enum vgpu_format format, enum weights_pack pack)
{
	if (is_taken(format) || (pack == WEIGHTS_KEEP && is_float(format)))
		return format;
	if (pack == WEIGHTS_KEEP && vgpu_format_packed(format))
		return vgpu_format_packed(format);
	if (vgpu_pack_is_exact(format, VGPU_FORMAT_MXFP4_G16))
		return VGPU_FORMAT_MXFP4_G16;
	if (pack == WEIGHTS_MXFP4 && !vgpu_pack_is_exact(format, VGPU_FORMAT_INT8_G16))
		return VGPU_FORMAT_MXFP4_G16;
	return VGPU_FORMAT_INT8_G16;
}

enum vgpu_format weights_format(const struct vgpu_tensor *tensor)
{
	return format_of(tensor->dtype);
}

static void skip(struct weights *w, const struct vgpu_tensor *t, const char *why)
{
	struct weight_skip *s;
	uint32_t i;

	for (i = 0; i < w->skip_count; i++)
		if (!strcmp(w->skips[i].why, why))
			break;
	if (i == WEIGHT_SKIPS_MAX)
		i--;
	s = &w->skips[i];
	if (i == w->skip_count) {
		snprintf(s->why, sizeof(s->why), "%s", why);
		w->skip_count++;
	}
	s->count++;
	s->bytes += t->bytes;
}

/* Codes @t, 16 bytes for 32 values, their scales, a byte each; @lead: 1 with experts, else 0. */
static bool put_split(struct weights *w, const struct vgpu_tensor *t,
		      const struct vgpu_tensor *scales, uint32_t lead, uint64_t k)
{
	if (t->shape[lead] > UINT32_MAX || t->shape[0] > UINT32_MAX || k > UINT32_MAX || !t->bytes)
		return false;
	w->list[w->count++] = (struct weight){
		.name = t->name,
		.type = t->dtype == VGPU_DTYPE_U8 ? "MXFP4" : t->dtype_name,
		.format = VGPU_FORMAT_MXFP4_SPLIT,
		.experts = lead ? (uint32_t)t->shape[0] : 0,
		.n = (uint32_t)t->shape[lead],
		.k = (uint32_t)k,
		.file = t->file,
		.offset = t->offset,
		.bytes = t->bytes,
		.scales_file = scales->file,
		.scales_offset = scales->offset,
		.scales_bytes = scales->bytes,
	};
	return true;
}

/* gpt-oss: name_blocks U8 [E][n][k / 32][16] beside name_scales U8 [E][n][k / 32]. */
static bool take_split(struct weights *w, const struct vgpu_tensor *t,
		       const struct vgpu_tensor *scales)
{
	uint32_t lead = t->rank - 3;	/* 1 with experts, else 0 */

	if (t->rank < 3 || t->rank > 4 || scales->rank != t->rank - 1)
		return false;
	if (t->shape[t->rank - 1] != 16 || t->shape[lead + 1] > UINT32_MAX / 32 ||
	    scales->bytes != t->bytes / 16)
		return false;
	return put_split(w, t, scales, lead, 32 * t->shape[lead + 1]);
}

/* OCP MX: name F4 [E][n][k], beside it its scales E8M0 (or U8) [E][n][k / 32]. */
static bool take_mx(struct weights *w, const struct vgpu_tensor *t,
		    const struct vgpu_tensor *scales)
{
	uint32_t last = t->rank - 1;

	if (t->rank < 2 || t->rank > 3 || scales->rank != t->rank ||
	    (scales->dtype != VGPU_DTYPE_F8_E8M0 && scales->dtype != VGPU_DTYPE_U8))
		return false;
	for (uint32_t i = 0; i < last; i++)
		if (scales->shape[i] != t->shape[i])
			return false;
	if (t->shape[last] % 32 || scales->shape[last] != t->shape[last] / 32)
		return false;
	return put_split(w, t, scales, t->rank - 2, t->shape[last]);
}

static const char *take_plain(struct weights *w, const struct vgpu_tensor *t,
			      const struct vgpu_pack_scales *scales)
{
	enum vgpu_format format = weights_format(t);
	struct weight weight = { .name = t->name, .type = t->dtype_name, .format = format,
				 .file = t->file, .offset = t->offset, .bytes = t->bytes,
				 .pack_scales = *scales };
	uint64_t bytes;
	uint32_t lead = t->rank - 2;

	if (t->rank < 2)
		return "rank below 2 (biases, norms)";
	if (t->rank > 3)
		return "rank above 3";
	if (t->shape[0] > UINT32_MAX || t->shape[lead] > UINT32_MAX ||
	    t->shape[lead + 1] > UINT32_MAX || !t->bytes)
		return "a dimension is 0 or above 2^32";
	weight.experts = lead ? (uint32_t)t->shape[0] : 0;
	weight.n = (uint32_t)t->shape[lead];
	weight.k = (uint32_t)t->shape[lead + 1];
	/* A GGUF row is whole blocks; anything else is not a product's operand. */
	if (vgpu_matrix_bytes(format, weight.n, weight.k, &bytes) ||
	    bytes * (lead ? weight.experts : 1) != t->bytes)
		return "rows are no whole number of blocks";
	w->list[w->count++] = weight;
	return NULL;
}

/*
 * What weights have; scales and integers are left out. To leave out weights would be to run
 * another model.
 */
static bool is_of_weights(const struct vgpu_tensor *t)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(t->dtype);

	return t->rank >= 2 && t->bytes &&
	       (t->dtype == VGPU_DTYPE_C64 || (info && info->block_elements > 1));
}

/* Without its scales a matrix is another one: false refuses it. */
static bool take_scales(struct weights *w, const struct vgpu_checkpoint *ck,
			const struct vgpu_tensor *t, struct vgpu_pack_scales *out)
{
	const struct vgpu_tensor *scales = t->rank > 1 && t->rank < 4 && t->bytes ?
					   weight_scales_of(ck, t) : NULL;
	char why[sizeof(w->refused_why)];

	*out = (struct vgpu_pack_scales){ 0 };
	if (!scales || weight_scales_apply(t, scales, out, why, sizeof(why)))
		return true;
	if (!w->refused) {
		w->refused = t;
		memcpy(w->refused_why, why, sizeof(why));
	}
	skip(w, t, "scales that are not applied");
	return false;
}

/* A layer by its codes. What is refused leaves a reason, once. */
static bool take_codes(struct weights *w, const struct vgpu_checkpoint *ck,
		       const struct vgpu_tensor *codes)
{
	char why[sizeof(w->refused_why)];

	if (w->settings_rc > 0)
		w->settings_rc = int4_settings_read(ck, &w->settings, why, sizeof(why));
	if (!w->settings_rc &&
	    weight_int4_take(ck, codes, &w->settings, &w->list[w->count], why, sizeof(why))) {
		w->count++;
		return true;
	}
	if (!w->refused) {
		w->refused = codes;
		memcpy(w->refused_why, why, sizeof(why));
	}
	return false;
}

/* Is a tensor a part of a layer of AWQ or GPTQ? Its scales are no matrix, nor are its codes. */
static bool take_int4(struct weights *w, const struct vgpu_checkpoint *ck,
		      const struct vgpu_tensor *t)
{
	const struct vgpu_tensor *codes = weight_int4_codes(ck, t);

	if (codes == t && !take_codes(w, ck, codes))
		skip(w, t, "layers of AWQ or GPTQ that are not taken");
	return codes;
}

static void take(struct weights *w, const struct vgpu_checkpoint *ck, const struct vgpu_tensor *t)
{
	const struct vgpu_tensor *scales;
	struct vgpu_pack_scales pack_scales;
	const char *why;
	char text[64];

	if (t->dtype == VGPU_DTYPE_U8) {
		if (sibling_find(ck, t->name, "_scales", "_blocks"))
			return;		/* taken with its blocks */
		scales = sibling_find(ck, t->name, "_blocks", "_scales");
		if (scales && take_split(w, t, scales))
			return;
	}
	if (weight_scales_owner(ck, t))
		return;			/* taken, or refused, with its weights */
	if (take_int4(w, ck, t))
		return;
	scales = t->dtype == VGPU_DTYPE_F4_E2M1 ? weight_scales_of(ck, t) : NULL;
	if (scales && take_mx(w, t, scales))
		return;
	if (!take_scales(w, ck, t, &pack_scales))
		return;
	if (weights_format(t) == VGPU_FORMAT_NONE) {
		if (!w->refused && is_of_weights(t))
			w->refused = t;
		snprintf(text, sizeof(text), "type %.24s has no product", t->dtype_name);
		skip(w, t, text);
		return;
	}
	why = take_plain(w, t, &pack_scales);
	if (why)
		skip(w, t, why);
}

static int by_place(const void *a, const void *b)
{
	const struct weight *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int weights_use(struct weight *w, enum vgpu_format format)
{
	uint64_t two, matrix;
	int rc;

	w->used = format;
	rc = vgpu_matrix_bytes(w->used, 1, w->k, &w->unit_bytes);
	if (!rc)
		rc = vgpu_matrix_bytes(w->used, 2, w->k, &two);
	if (!rc)
		rc = vgpu_matrix_bytes(w->used, w->n, w->k, &matrix);
	if (rc || __builtin_mul_overflow(matrix, (uint64_t)(w->experts ? w->experts : 1),
					 &w->used_bytes))
		return rc ? rc : -EOVERFLOW;
	/* Of groups two rows take no more than one. */
	w->unit_rows = two == w->unit_bytes ? 16 : 1;
	if (w->used == w->format)
		w->used_bytes += w->scales_bytes;
	return 0;
}

int weights_group(struct weights *w)
{
	int rc = 0;

	w->used_bytes = 0;
	for (size_t i = 0; i < w->count && !rc; i++) {
		struct weight *one = &w->list[i];

		if (one->used == one->format && is_taken(one->format))
			rc = weights_use(one, grouped(one->format));
		w->used_bytes += one->used_bytes;
	}
	return rc;
}

int weights_list(const struct vgpu_checkpoint *ck, enum weights_pack pack, struct weights *out)
{
	size_t count = vgpu_checkpoint_tensor_count(ck);
	int rc = 0;

	*out = (struct weights){ .settings_rc = 1 };
	out->list = calloc(count + 1, sizeof(*out->list));
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		take(out, ck, vgpu_checkpoint_tensor(ck, i));
	qsort(out->list, out->count, sizeof(*out->list), by_place);
	for (size_t i = 0; i < out->count && !rc; i++) {
		const struct weight *one = &out->list[i];

		rc = weights_use(&out->list[i], one->layer.group ? one->used :
						weights_used(one->format, pack));
		out->bytes += out->list[i].bytes + out->list[i].scales_bytes;
		out->used_bytes += out->list[i].used_bytes;
	}
	return rc;
}

bool weights_all(const struct weights *w)
{
	return w->count && !w->refused;
}

/* Names of all types that are taken, as far as they fit. */
static void put_types(char *text, size_t len)
{
	const char *gap = "";
	size_t used = 0;

	for (int i = 0; i < DTYPE_END && used < len; i++) {
		if (format_of((enum vgpu_dtype)i) == VGPU_FORMAT_NONE)
			continue;
		used += (size_t)snprintf(text + used, len - used, "%s%s", gap,
					 vgpu_dtype_info((enum vgpu_dtype)i)->name);
		gap = ", ";
	}
}

static void refuse_tensor(const struct vgpu_tensor *t, char *text, size_t len)
{
	char types[512] = "";

	put_types(types, sizeof(types));
	snprintf(text, len, "tensor '%.80s': type %s %s; taken are %s", t->name, t->dtype_name,
		 t->dtype == VGPU_DTYPE_F6_E2M3 || t->dtype == VGPU_DTYPE_F6_E3M2 ?
		 "is of 6 bits, and safetensors does not define how they lie in bytes" :
		 "has no product and is not packed", types);
}

void weights_refusal(const struct vgpu_checkpoint *ck, const struct weights *w, char *text,
		     size_t len)
{
	char types[512] = "";
	size_t used;

	/* Of a layer another tensor may be at fault, and is named there. */
	if (w->refused && !strncmp(w->refused_why, "tensor '", strlen("tensor '"))) {
		snprintf(text, len, "%s", w->refused_why);
		return;
	}
	if (w->refused && *w->refused_why) {
		snprintf(text, len, "tensor '%.80s': %s", w->refused->name, w->refused_why);
		return;
	}
	if (w->refused) {
		refuse_tensor(w->refused, text, len);
		return;
	}
	used = (size_t)snprintf(text, len, "none of its %zu tensors is a matrix that a product takes (",
				vgpu_checkpoint_tensor_count(ck));
	for (uint32_t i = 0; i < w->skip_count && used < len; i++)
		used += (size_t)snprintf(text + used, len - used, "%s%u: %s", i ? "; " : "",
					 w->skips[i].count, w->skips[i].why);
	put_types(types, sizeof(types));
	if (used < len)
		snprintf(text + used, len - used, "); it takes rank 2 or 3 of type %s, or U8 _blocks "
			 "[..][16] beside _scales", types);
}

void weights_free(struct weights *w)
{
	vgpu_checkpoint_close(w->packed);
	free(w->list);
	memset(w, 0, sizeof(*w));
}

uint64_t weights_resident(const struct weights *w, uint64_t chunk_bytes)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < w->count; i++)
		bytes += (w->list[i].used_bytes + chunk_bytes - 1) / chunk_bytes * chunk_bytes;
	return bytes;
}

uint64_t weights_staging(const struct weight *w, uint64_t chunk_bytes)
{
	uint64_t bytes;

	return vgpu_panels_bytes(w->used, w->k, (uint32_t)chunk_bytes, &bytes) ? 0 : bytes;
}

uint64_t weights_default_staging(const struct weights *w, uint64_t host_bytes,
				 uint64_t chunk_bytes)
{
	uint64_t bytes = vgpu_staging_bytes(host_bytes, (uint32_t)chunk_bytes), least;

	for (size_t i = 0; i < w->count; i++) {
		least = weights_staging(&w->list[i], chunk_bytes);
		if (least > bytes)
			bytes = least;
	}
	return bytes;
}

uint64_t weights_host(const struct weights *w, uint64_t room_bytes, uint64_t chunk_bytes)
{
	uint64_t host = room_bytes, more = 0;

	/* The reserve grows with the tier, twenty times slower. */
	do {
		host += more;
		more = room_bytes + weights_default_staging(w, host, chunk_bytes) - host;
	} while (more);
	return host;
}
