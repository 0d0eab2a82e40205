/* SPDX-License-Identifier: MIT */
/*
 * One linear layer of an AWQ or a GPTQ checkpoint: its tensors, and its rows for pack_int4.
 *
 * A layer has k inputs and n outputs; the weight of output r and input c is
 * scale * (code - zero), where scale and zero are those of output r and of the group of c.
 *
 *		AWQ ("gemm")			GPTQ
 *	qweight	I32 [k][n / 8]			I32 [k / 8][n]
 *	qzeros	I32 [groups][n / 8]		I32 [groups][n / 8]
 *	scales	F16 [groups][n]			F16 [groups][n]
 *	g_idx	-				I32 [k]: group of an input
 *
 * A word holds eight codes, the first in its lowest four bits.  GPTQ has them in order: of inputs
 * 8 j .. in qweight, of outputs 8 j .. in qzeros.  AWQ has those of outputs 8 j + 0, 2, 4, 6, 1, 3,
 * 5, 7 in both.  GPTQ stores a zero point less one, so that 15 stands for 16, as vLLM and AutoGPTQ
 * read it (ExLlamaV2 makes 0 of it); its format "gptq_v2", and AWQ, as it is.
 *
 * Sources: AutoAWQ, awq/utils/packing_utils.py; AutoGPTQ, nn_modules/qlinear/; GPTQModel,
 * utils/model.py for v1 and v2.
 *
 * formats/int4_layer.h checks what a file says and fills the struct; from there on nothing can
 * fail.  The table's pack_int4_layer packs it out of the words; the reference by 16 rows of bytes.
 */
#ifndef VGPU_PACK_INT4_LAYER_H
#define VGPU_PACK_INT4_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_int4_rows;

enum vgpu_int4_scheme {
	VGPU_INT4_AWQ,
	VGPU_INT4_GPTQ,		/* checkpoint_format "gptq": zero points less one */
	VGPU_INT4_GPTQ_V2,	/* "gptq_v2": as they are */
};

/* Codes in a word. */
#define VGPU_INT4_WORD_CODES	8u
/*
 * Groups of 16 rows that are packed together: their words of an input are a line of AWQ's tensor,
 * where a single group's are 8 bytes of each.
 */
#define VGPU_INT4_UNITS		8u

/**
 * struct vgpu_int4_layer - a layer in memory; read-only
 * @scheme: how it lies there
 * @n: outputs, rows of the packed matrix, a multiple of 8
 * @k: inputs, columns of it, a multiple of 32
 * @group: inputs that share a scale in the file, a multiple of @cols
 * @groups: of these, the last of which may be short
 * @cols: columns that share a scale when packed: 32, 64 or 128; @k is a multiple of it
 * @zeros: there is a zero point other than 8
 * @qweight: see above, as the others; any alignment
 */
struct vgpu_int4_layer {
	enum vgpu_int4_scheme scheme;
	uint32_t n, k;
	uint32_t group, groups;
	uint32_t cols;
	bool zeros;
	const uint8_t *qweight, *qzeros, *scales;
};

/* The packed format that pack_int4 makes of it, of enum vgpu_wformat. */
uint32_t vgpu_int4_layer_format(const struct vgpu_int4_layer *layer);

/* Bytes that vgpu_int4_layer_rows() writes to, one a thread: 16 rows. */
size_t vgpu_int4_layer_scratch_bytes(const struct vgpu_int4_layer *layer);

/**
 * vgpu_int4_layer_rows() - one group of rows for pack_int4
 * @layer: the layer
 * @first: its first row, below @layer->n and a multiple of 16
 * @scratch: vgpu_int4_layer_scratch_bytes(), aligned to 2 bytes
 * @out: points into @scratch; the last group of a layer may have 8 rows
 *
 * Scales of groups of more than @layer->cols columns are repeated.
 *
 * Context: Any thread; several may read one layer. Allocates nothing.
 */
void vgpu_int4_layer_rows(const struct vgpu_int4_layer *layer, uint32_t first, void *scratch,
			  struct vgpu_int4_rows *out);

#endif
