/* SPDX-License-Identifier: MIT */
/*
 * The weight matrices of a checkpoint, in the order in which they lie in its files:
 * what a run of the whole model multiplies with, and what is left out and why.
 */
#ifndef TOOLS_WEIGHTS_H
#define TOOLS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/int4_settings.h"
#include "vgpu.h"

/**
 * What operands weights become. MXFP4 and Q8_0 stay as they lie; other blocks are packed in any
 * case: to what is asked for, but to INT8 or MXFP4 where that keeps their values. Layers of AWQ and
 * GPTQ keep theirs whatever is asked for.
 */
enum weights_pack {
	WEIGHTS_KEEP,	/* floats stay, blocks keep values where they can, the others become INT8 */
	WEIGHTS_INT8,
	WEIGHTS_MXFP4,
};
extern const char *const weights_packs[];

/**
 * struct weight - one matrix, or a stack of experts
 * @name: of the tensor that holds the codes; belongs to the checkpoint
 * @type: of that tensor, as the file spells it
 * @format: as it lies in the file; NONE: in several tensors, see @layer
 * @used: as an operand: @format, or what it is packed to
 * @experts: matrices behind each other; 0: a plain matrix
 * @n: rows of one matrix
 * @k: columns
 * @file: index in the checkpoint
 * @offset: first byte in that file
 * @bytes: of all matrices; of a layer, of all its tensors
 * @scales_file: MXFP4_SPLIT: index of the file with the scales
 * @scales_offset: MXFP4_SPLIT: first byte of the scales
 * @scales_bytes: MXFP4_SPLIT: of all matrices; else 0
 * @pack_scales: FP8: what values are multiplied by when they are packed
 * @layer: AWQ and GPTQ: how it is packed, once; all zero: it is no such layer
 * @unit_rows: rows of @used that cannot be cut apart, 1 or 16
 * @unit_bytes: of these
 * @used_bytes: of all matrices as operands, scales included
 */
struct weight {
	const char *name, *type;
	enum vgpu_format format, used;
	uint32_t experts;
	uint32_t n, k;
	uint32_t file;
	uint64_t offset, bytes;
	uint32_t scales_file;
	uint64_t scales_offset, scales_bytes;
	struct vgpu_pack_scales pack_scales;
	struct vgpu_pack_layer layer;
	uint32_t unit_rows;
	uint64_t unit_bytes, used_bytes;
};

/**
 * struct weight_skip - tensors left out for one reason
 * @why: for people
 * @count: tensors
 * @bytes: of all of them
 */
struct weight_skip {
	char why[64];
	uint32_t count;
	uint64_t bytes;
};

#define WEIGHT_SKIPS_MAX 12

/**
 * struct weights - all of a checkpoint
 * @list: sorted by file and offset
 * @count: entries
 * @bytes: of all entries, scales included
 * @used_bytes: of all entries as operands
 * @settings: of layers of AWQ and GPTQ, where there are any
 * @settings_rc: what int4_settings_read() said; 1: it was not asked yet
 * @packed: the file that the layers are packed to (packed_layers.h); NULL until it is opened
 * @refused: the first matrix of a type that has no product and cannot be packed, or whose
 *	scales cannot be applied, or the codes of a layer of AWQ or GPTQ, or NULL
 * @refused_why: but for the first case: the reason; else empty
 * @skips: what was left out, the last entry taking what finds no room
 * @skip_count: entries
 */
struct weights {
	struct weight *list;
	size_t count;
	uint64_t bytes, used_bytes;
	struct int4_settings settings;
	int settings_rc;
	struct vgpu_checkpoint *packed;
	const struct vgpu_tensor *refused;
	char refused_why[320];
	struct weight_skip skips[WEIGHT_SKIPS_MAX];
	uint32_t skip_count;
};

/**
 * weights_list() - find the matrices of a checkpoint
 * @ck: must stay open as long as @out is used
 * @pack: what is packed
 * @out: free it with weights_free()
 *
 * Of layers of AWQ and GPTQ all but the codes is read, and the settings beside the file.
 * Return: 0, -ENOMEM.
 */
int weights_list(const struct vgpu_checkpoint *ck, enum weights_pack pack, struct weights *out);
void weights_free(struct weights *w);

/** weights_all() - are they all of the model: there is one, and none is refused */
bool weights_all(const struct weights *w);

/**
 * weights_refusal() - why weights_all() says no, and what would be taken
 * @w: of @ck
 * @text: receives one line
 */
void weights_refusal(const struct vgpu_checkpoint *ck, const struct weights *w, char *text,
		     size_t len);

/** weights_format() - what a tensor lies there as, operand or packed first; NONE: neither */
enum vgpu_format weights_format(const struct vgpu_tensor *tensor);

/** weights_used() - what operand weights of @format become */
enum vgpu_format weights_used(enum vgpu_format format, enum weights_pack pack);

/**
 * weights_use() - have one matrix as another operand
 * @w: its @used and what depends on it change
 * @format: to use it as; whoever asks knows that it can become that
 *
 * Return: 0; what vgpu_matrix_bytes() said; -EOVERFLOW.
 */
int weights_use(struct weight *w, enum vgpu_format format);

/**
 * weights_group() - have blocks that lie in the file as rows as groups of them, same values
 * @w: its list and bytes change
 *
 * A product with few activations puts rows into groups each time.  Where groups are made once
 * and then stay, that is what is fast; where each use reads them anew, they cost more than rows.
 *
 * Return: 0, or what weights_use() said.
 */
int weights_group(struct weights *w);

/** weights_resident() - bytes of a tier that holds them all, in whole chunks of each object */
uint64_t weights_resident(const struct weights *w, uint64_t chunk_bytes);

/**
 * weights_staging() - transfer reserve that a product with a matrix takes
 * @chunk_bytes: of the device
 *
 * Return: bytes, as vgpu_panels_bytes() has them.
 */
uint64_t weights_staging(const struct weight *w, uint64_t chunk_bytes);

/**
 * weights_default_staging() - the reserve for a whole model
 * @host_bytes: host tier
 *
 * The device's own default, or more where a matrix needs it.
 * Return: bytes.
 */
uint64_t weights_default_staging(const struct weights *w, uint64_t host_bytes,
				 uint64_t chunk_bytes);

/**
 * weights_host() - the host tier that leaves some room beside that reserve
 * @room_bytes: for content, whole chunks
 *
 * Return: bytes.
 */
uint64_t weights_host(const struct weights *w, uint64_t room_bytes, uint64_t chunk_bytes);

#endif
