/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of the CPU path: one table of functions, filled level by level.
 *
 * dispatch.c sets every entry to the reference and then lets each level that the
 * CPU has (and VBLACKWELL_ISA allows) overwrite what it does better.  A function
 * here works on one thread and on the rows it is given; exec/backend_cpu.c cuts
 * the work and owns the threads.  Nothing here allocates, locks or prints.
 *
 * Weights W are [n][k], activations X [m][k], products Y = X W^T [m][n], f32.
 * Packed weights are stored in row groups of VGPU_GROUP_ROWS rows, so that one
 * row is one 32-bit lane; see pack/ and Documentation/kernels.md for the bytes.
 */
#ifndef VGPU_KERNELS_H
#define VGPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels of the staircase; VBLACKWELL_ISA=ref|avx2|avx512|amx caps it. */
enum vgpu_isa {
	VGPU_ISA_REF,
	VGPU_ISA_AVX2,		/* AVX2, FMA, F16C, BMI2 */
	VGPU_ISA_AVX512,	/* + AVX-512 F/BW/VL/DQ, VNNI, BF16, VBMI */
	VGPU_ISA_AMX,		/* + AMX-TILE, BF16, where the kernel lets us */
	VGPU_ISA_COUNT
};

/* Rows in one group of a packed weight: one row a 32-bit lane. */
#define VGPU_GROUP_ROWS	16u
/* Columns of a block of a packed weight, and of a group of activations. */
#define VGPU_BLOCK	32u

/*
 * How a weight lies in memory.  The numbers are those of enum vb_format in the
 * UAPI header; backends hand them through.
 */
enum vgpu_wformat {
	VGPU_W_F32 = 1,		/* row-major, any alignment */
	VGPU_W_F16 = 2,
	VGPU_W_BF16 = 3,
	VGPU_W_F8_E4M3 = 6,	/* pack/blocks.c: decoded, no operand */
	VGPU_W_F8_E5M2 = 7,
	VGPU_W_F64 = 8,
	VGPU_W_Q8_K = 9,
	VGPU_W_IQ1_S = 10,
	VGPU_W_IQ1_M = 11,
	VGPU_W_IQ2_XXS = 12,
	VGPU_W_IQ2_XS = 13,
	VGPU_W_TQ1_0 = 14,
	VGPU_W_TQ2_0 = 15,
	VGPU_W_MXFP4 = 16,	/* GGUF block_mxfp4: {u8 e8m0, u8 qs[16]} a block */
	VGPU_W_MXFP4_SPLIT = 17,/* gpt-oss: blocks [n][k/32][16], scales [n][k/32] */
	VGPU_W_Q8_0 = 18,	/* GGUF block_q8_0: {f16 d, s8 qs[32]} a block */
	VGPU_W_Q4_0 = 19,	/* pack/blocks.c; operands are those of pack/g16_type.h */
	VGPU_W_Q4_1 = 20,
	VGPU_W_Q5_0 = 21,
	VGPU_W_Q5_1 = 22,
	VGPU_W_Q2_K = 23,
	VGPU_W_Q3_K = 24,
	VGPU_W_Q4_K = 25,
	VGPU_W_Q5_K = 26,
	VGPU_W_Q6_K = 27,
	VGPU_W_IQ4_NL = 28,
	VGPU_W_IQ4_XS = 29,
	VGPU_W_NVFP4 = 30,
	VGPU_W_IQ2_S = 31,
	VGPU_W_MXFP4_G16 = 32,	/* row groups, made by pack_mxfp4 */
	VGPU_W_INT8_G16 = 33,	/* row groups, made by pack_int8 */
	VGPU_W_Q4_0_G16 = 34,	/* row groups, made by pack_blocks: pack/g16_type.h */
	VGPU_W_Q4_1_G16 = 35,
	VGPU_W_Q5_0_G16 = 36,
	VGPU_W_Q5_1_G16 = 37,
	VGPU_W_Q4_K_G16 = 38,
	VGPU_W_Q5_K_G16 = 39,
	VGPU_W_Q6_K_G16 = 40,
	VGPU_W_NVFP4_G16 = 41,
	VGPU_W_INT4_64_G16 = 42,/* made by pack_int4, a scale for 64 columns */
	VGPU_W_INT4_128_G16 = 43,
	VGPU_W_INT4_Z32_G16 = 44,/* and a zero point */
	VGPU_W_INT4_Z64_G16 = 45,
	VGPU_W_INT4_Z128_G16 = 46,
	VGPU_W_IQ3_XXS = 48,	/* as those of pack/blocks.c above */
	VGPU_W_IQ3_S = 49,
	VGPU_W_Q1_0 = 50,
	VGPU_W_F4_E2M1 = 51,
};

struct vgpu_int4_layer;

/*
 * Accuracy mode: what happens to the activations before they meet a compressed
 * weight.  Documented with its error in Documentation/kernels.md.
 *   F32   left alone; weights are expanded to f32 in registers
 *   A16   rounded to BF16 in groups of 32 along k, which share a scale close to 1 that
 *         keeps the largest as it is
 *   A8    rounded to int8 in groups of 32 along k, scale = max|x| / 127 rounded up to
 *         16 significant bits
 *   A8_256  the same in groups of 256: less exact, and where the weight's scales allow
 *         (pack/run8.h) sums of 256 products stay integers
 */
enum vgpu_mode {
	VGPU_MODE_F32 = 0,
	VGPU_MODE_A16 = 1,
	VGPU_MODE_A8 = 2,
	VGPU_MODE_A8_256 = 3,
};
#define VGPU_MODES	4

/* Columns of the coarser groups of activations; the first of a group is a multiple of it. */
#define VGPU_RUN	256u

/* Whether activations are int8. */
static inline bool vgpu_mode_is_a8(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_A8 || mode == VGPU_MODE_A8_256;
}

/* Columns that are rounded together in mode A8 or A8_256. */
static inline uint32_t vgpu_a8_group(enum vgpu_mode mode)
{
	return mode == VGPU_MODE_A8_256 ? VGPU_RUN : VGPU_BLOCK;
}

/**
 * struct vgpu_acts - activations packed once a command for one mode
 * @mode: enum vgpu_mode
 * @m: rows; without any a product writes nothing
 * @k: columns, as the caller has them
 * @kpad: columns the packed rows hold: k rounded up to VGPU_BLOCK, zero filled
 * @data: the values, [m][kpad] in the level's own order and type; 64-byte aligned
 * @scale: A16, A8: f32 [m][kpad / 32], scale of 32 columns; else NULL
 * @sum: A16, A8: f32, for weights with a minimum: sum of the values of 32 columns, where the
 *	level wants it; else NULL
 * @offset: A8: f32, level's own (see avx512/act.h); else NULL
 * @start, @half: A8: s32, level's own; else NULL
 * @run: A8_256: s32, level's own; else NULL
 *
 * Every level keeps its own order inside, so that the table's pack and product
 * are always taken together.  The values do not differ between levels.
 */
struct vgpu_acts {
	enum vgpu_mode mode;
	uint32_t m, k, kpad;
	void *data;
	float *scale;
	float *sum;
	float *offset;
	int32_t *start, *half, *run;
};

/* Rows of activations that are whole tiles at each level. */
#define VGPU_ACTS_ROWS	48u

/**
 * struct vgpu_panel - whole rows of one weight matrix, contiguous in memory
 * @format: enum vgpu_wformat
 * @rows: rows in the panel; packed formats: the last group of a matrix may hold
 *	fewer than 16, its padding rows decode to zero and are not stored to y
 * @k: columns, at least 1
 * @data: first byte of the first row (of the first row group); packed formats:
 *	64-byte aligned, others any alignment
 * @scales: MXFP4_SPLIT: first scale byte of the first row; else NULL
 */
struct vgpu_panel {
	enum vgpu_wformat format;
	uint32_t rows, k;
	const void *data;
	const uint8_t *scales;
};

/**
 * struct vgpu_int4_rows - up to 16 rows of INT4, taken apart: a value is scale * (code - zero)
 * @codes: u8 [rows][k], row stride @ld, each below 16
 * @scales: f16 [rows][groups], row stride @ld_groups
 * @zeros: u8 as @scales, 0 .. 16; NULL: 8 for all
 * @rows: 1 .. 16
 * @k: columns, a multiple of the format's group
 */
struct vgpu_int4_rows {
	const uint8_t *codes;
	const uint16_t *scales;
	const uint8_t *zeros;
	size_t ld, ld_groups;
	uint32_t rows, k;
};

/**
 * struct vgpu_mxfp4_rows - up to 16 rows of blocks of MXFP4, or of MXFP4_SPLIT
 * @blocks: of the first row: 17 bytes each; where there are @scales 16, codes alone
 * @scales: NULL, or the scale of the first block; a byte a block
 * @row_bytes, @scale_row_bytes: from a row to the next
 * @rows: 1 .. 16
 * @k: columns, a multiple of 32
 */
struct vgpu_mxfp4_rows {
	const uint8_t *blocks, *scales;
	size_t row_bytes, scale_row_bytes;
	uint32_t rows, k;
};

/*
 * Columns that a part of a transposed product begins at are multiples of this: there every
 * format has a whole tile or block.
 */
#define VGPU_TRANSPOSED_COLS	512u

/**
 * struct vgpu_transposed - what a panel is multiplied by from the left, for Y = X W
 * @x: f32 [m][rows of the panel], row stride @ldx floats: the columns that are the panel's rows
 * @y: f32 [m][k of the panel], row stride @ldy
 * @m: rows; without any nothing is written
 * @first, @end: columns of the weight that are computed; others of @y are left alone.  The first
 *	is a multiple of VGPU_TRANSPOSED_COLS, the end another or k
 * @add: @y holds the sums of the panels before this one; else what is there is not read
 */
struct vgpu_transposed {
	const float *x;
	float *y;
	size_t ldx, ldy;
	uint32_t m, first, end;
	bool add;
};

/* Bytes of one row (row-major formats) or of one group of 16 rows (packed). */
size_t vgpu_weight_unit_bytes(enum vgpu_wformat format, uint32_t k);
/* Rows a unit holds: 1 or VGPU_GROUP_ROWS; 0 for a format not known. */
uint32_t vgpu_weight_unit_rows(enum vgpu_wformat format);
/*
 * The mode that activations must be packed in for this weight: F32 and F16 weights
 * are not compressed, so they take activations as they are whatever is wanted,
 * and BF16 weights take F32 or A16.  All others take every mode.
 */
enum vgpu_mode vgpu_matmul_mode(enum vgpu_wformat format, enum vgpu_mode wanted);

/*
 * Attention over one head group; see ref/attention.c.  Keys and values are of one format:
 * 0 or F32, F16, BF16, and Q8_0 (INT8 with a scale for 32 columns), where head_dim, ldk and
 * ldv are multiples of 32.  With any other the output is NaN.
 */
struct vgpu_attention {
	uint32_t m;		/* queries */
	uint32_t kv;		/* keys and values */
	uint32_t heads, kv_heads, head_dim;
	uint32_t window;	/* 0: all; else keys further back are masked */
	bool causal;		/* query i sees keys 0 .. i + kv - m */
	float scale;		/* of q.k, usually 1/sqrt(head_dim) */
	float softcap;		/* 0: none; else softcap * tanh(s / softcap) */
	const float *q;		/* [m][heads][head_dim], row stride ldq floats */
	enum vgpu_wformat kv_format;
	const void *k;		/* [kv][kv_heads][head_dim], ldk elements; aligned to one */
	const void *v;		/* [kv][kv_heads][head_dim], ldv */
	const float *mask;	/* [m][ldmask] added to the scores, or NULL */
	float *out;		/* [m][heads][head_dim], ldo */
	size_t ldq, ldk, ldv, ldo, ldmask;
};

enum vgpu_unary { VGPU_UNARY_COPY, VGPU_UNARY_GELU_ERF, VGPU_UNARY_GELU_TANH,
		  VGPU_UNARY_SILU, VGPU_UNARY_RELU, VGPU_UNARY_SIGMOID, VGPU_UNARY_TANH };
enum vgpu_binary { VGPU_BINARY_ADD, VGPU_BINARY_SUB, VGPU_BINARY_MUL,
		   VGPU_BINARY_SWIGLU,	/* silu(a) * b */
		   VGPU_BINARY_GEGLU	/* gelu_tanh(a) * b */ };
/* How much of an update comes through: op(add + mul cos phi); see ref/layer.h. */
struct vgpu_gate {
	enum vgpu_unary op;
	float mul, add;
};
enum vgpu_rope { VGPU_ROPE_NEOX /* pairs (i, i + rot/2) */, VGPU_ROPE_NORM /* (2i, 2i + 1) */ };

/**
 * struct vgpu_kernels - one level's functions; all are set, none is NULL
 *
 * Context: any thread; they allocate nothing and take no lock.  Pointers to
 * activations are to f32 with 4-byte alignment, unless said otherwise.
 */
struct vgpu_kernels {
	enum vgpu_isa isa;		/* highest level that filled an entry */

	/* --- products (matmul.c in each level) --- */

	/*
	 * Pack rows [first, end) of x (row stride ldx floats) for acts->mode.  Both are
	 * multiples of VGPU_ACTS_ROWS, or the end is acts->m: other threads may pack other rows.
	 */
	void (*acts_pack)(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			  uint32_t end);
	/*
	 * y[i * ldy + r] = sum_k X[i][k] W[r][k] for the panel's rows r and all m.
	 * x->mode is what vgpu_matmul_mode() answers for the format; y of any other
	 * pair is filled with NaN.  A row's result depends on the level and the mode
	 * alone: not on m, on how rows are cut into panels, or on alignment.
	 * scratch: vgpu_matmul_scratch_bytes(), 64-byte aligned, one a thread.
	 */
	void (*matmul)(const struct vgpu_panel *w, const struct vgpu_acts *x,
		       float *y, size_t ldy, void *scratch);

	/*
	 * Y = X W, the gradient of a product's activations from that of its result: with X = dY
	 * [m][n] and Y = dX [m][k], the panel has rows of W [n][k], as it lies for matmul.
	 *
	 * y[i][c] = fma(x[i][r], W[r][c], y[i][c]) for r = 0, 1, ..., from +0 on, or from what is
	 * there with p->add: the bits, but for those of a NaN, are the same at every level and
	 * however rows of x, rows of W and columns are cut.  With u = 2^-24 a result is within
	 * n u / (1 - n u) * sum |x W| of the exact one, where none of it leaves f32.
	 *
	 * Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1 (an fma
	 * rounds once, so n roundings are on the way of a term rather than n + 1).
	 *
	 * The panel has at least one row; scratch: as of matmul.
	 */
	void (*matmul_transposed)(const struct vgpu_panel *w, const struct vgpu_transposed *p,
				  void *scratch);

	/* --- packing (pack.c in each level); src row stride in elements --- */

	/*
	 * Encode one group of up to 16 rows of f32/f16/bf16 (any alignment) into dst,
	 * 64-byte aligned, VGPU_W_MXFP4_G16 or VGPU_W_INT8_G16, one unit.  k is any
	 * number; the last block is filled up with zeros.
	 * Returns 0, -EDOM when a value is NaN or infinite (int8: or its scale too
	 * large for an f16, max|x| >= 127 * 65520), or -EINVAL when src_format is
	 * another; dst is then untouched.
	 */
	int (*pack_mxfp4)(void *dst, const void *src, enum vgpu_wformat src_format,
			  size_t ld, uint32_t rows, uint32_t k);
	int (*pack_int8)(void *dst, const void *src, enum vgpu_wformat src_format,
			 size_t ld, uint32_t rows, uint32_t k);
	/*
	 * What pack_mxfp4 makes of the values of blocks that are MXFP4 already: codes are moved,
	 * and doubled with a smaller scale where no value of a block is as large as 4 times its
	 * own.  Returns 0, or -EDOM when a value is NaN or infinite; dst is then untouched.
	 */
	int (*pack_mxfp4_rows)(void *dst, const struct vgpu_mxfp4_rows *src);
	/*
	 * One group of INT8_G16 from up to 16 rows of blocks behind each other, whose values are
	 * whole numbers times an F16 (pack/blocks.h): both are copied.  Returns 0, -EDOM when a
	 * scale is NaN or infinite, or -EINVAL when the blocks are others or k no multiple of
	 * their values; dst is then untouched.
	 */
	int (*pack_codes)(void *dst, const void *src, enum vgpu_wformat src_format, uint32_t rows,
			  uint32_t k);
	/*
	 * Make one group of up to 16 rows of blocks that lie behind each other; dst and
	 * format as above, one of pack/g16_type.h, which says what blocks src has.
	 * Codes and scales are moved, so that the values are those of the blocks.
	 * Returns 0, -EDOM when a scale or a minimum is NaN or infinite, or -EINVAL when
	 * the format is another or k no multiple of the values of a block; dst is then
	 * untouched.
	 */
	int (*pack_blocks)(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			   uint32_t k);
	/*
	 * The same of INT4: format is one of VGPU_W_INT4_*, or Q4_0_G16, which is INT4
	 * with a scale for 32 columns.  -EDOM also when a code or a zero is too large,
	 * -EINVAL when the format has zeros and src has not, or the other way round.
	 */
	int (*pack_int4)(void *dst, enum vgpu_wformat format, const struct vgpu_int4_rows *src);
	/*
	 * Some groups of a layer of AWQ or GPTQ, behind each other: 1 .. VGPU_INT4_UNITS of them, the
	 * first of row first, a multiple of 16; the layer's last may have 8 rows.  The format is
	 * vgpu_int4_layer_format(), scratch vgpu_int4_layer_scratch_bytes() (pack/int4_layer.h).
	 * Returns 0, or -EDOM when a scale is NaN or infinite; dst then holds anything.
	 */
	int (*pack_int4_layer)(void *dst, const struct vgpu_int4_layer *layer, uint32_t first,
			       uint32_t units, void *scratch);
	/* Decode rows of any weight format to f32 [rows][ldd]; k columns are written. */
	void (*weight_decode)(const struct vgpu_panel *w, float *dst, size_t ldd);

	/* --- layer operations (layer.c, attention.c in each level) --- */

	/* out[i] = (x[i] - mean) / sqrt(var + eps) * gamma + beta; n columns a row */
	void (*layernorm)(float *out, const float *x, const float *gamma,
			  const float *beta, uint32_t n, float eps);
	/* out[i] = x[i] / sqrt(mean(x^2) + eps) * (gamma[i] + add) */
	void (*rmsnorm)(float *out, const float *x, const float *gamma,
			uint32_t n, float eps, float add);
	/* in place softmax of scale * x + mask (mask may be NULL) */
	void (*softmax)(float *x, const float *mask, uint32_t n, float scale);
	void (*unary)(enum vgpu_unary op, float *out, const float *a, size_t n);
	/* b is read modulo nb, so that a bias row serves every row; nb divides n */
	void (*binary)(enum vgpu_binary op, float *out, const float *a,
		       const float *b, size_t n, size_t nb);
	/* out = a * s; out may be a */
	void (*scale)(float *out, const float *a, float s, size_t n);
	/*
	 * Rotate one row of heads [heads][dim] at position pos; rot <= dim
	 * columns rotate; theta_i = pos * freq_scale * base^(-2i/rot).
	 */
	void (*rope)(enum vgpu_rope kind, float *x, uint32_t heads, uint32_t dim,
		     uint32_t rot, float pos, float base, float freq_scale);
	/* the `top` largest of x[n], descending, ties to the lower index */
	void (*topk)(const float *x, uint32_t n, uint32_t top, float *out_value,
		     int32_t *out_index);
	/* queries [q_first, q_end) of heads [head_first, head_end); scratch as below */
	void (*attention)(const struct vgpu_attention *a, uint32_t head_first,
			  uint32_t head_end, uint32_t q_first, uint32_t q_end,
			  void *scratch);
	/* y = u + g(phi) y, phi the angle between the two; [n] */
	void (*gate)(float *y, const float *u, uint32_t n, const struct vgpu_gate *g);
	/* n values as blocks of Q8_0, n a multiple of 32; the same bytes at every level */
	void (*q8_0_encode)(void *dst, const float *src, size_t n);
};

/* Part of a product's scratch that does not depend on the weight's shape. */
#define VGPU_PANEL_BYTES	(312u << 10)
/* From so many rows of activations on, level amx keeps A8 in tiles of 16 (amx/act8.h). */
#define VGPU_AMX_A8_ROWS	32u
#define VGPU_AMX_SCRATCH_BYTES	(832u << 10)

/* What one thread needs beside its operands; both are small (L2-sized). */
size_t vgpu_matmul_scratch_bytes(enum vgpu_wformat format, uint32_t k);
size_t vgpu_attention_scratch_bytes(const struct vgpu_attention *a);
/* Bytes of acts->data, ->scale, ->offset and ->start together, with alignment padding. */
size_t vgpu_acts_bytes(enum vgpu_mode mode, uint32_t m, uint32_t k);
/* Point acts at memory of vgpu_acts_bytes(), 64-byte aligned. */
void vgpu_acts_init(struct vgpu_acts *acts, enum vgpu_mode mode, uint32_t m,
		    uint32_t k, void *memory);

/**
 * vgpu_kernels_get() - the table of a level
 * @isa: the level wanted
 *
 * Return: the table, or NULL when this CPU lacks the level.
 */
const struct vgpu_kernels *vgpu_kernels_get(enum vgpu_isa isa);

/* The best level this CPU has, capped by VBLACKWELL_ISA; decided once. */
const struct vgpu_kernels *vgpu_kernels_best(void);
enum vgpu_isa vgpu_isa_detect(void);
const char *vgpu_isa_name(enum vgpu_isa isa);

/* Filled by each level; called by dispatch.c only. */
void vgpu_matmul_init_ref(struct vgpu_kernels *t);
void vgpu_pack_init_ref(struct vgpu_kernels *t);
void vgpu_layer_init_ref(struct vgpu_kernels *t);
void vgpu_matmul_init_avx2(struct vgpu_kernels *t);
void vgpu_pack_init_avx2(struct vgpu_kernels *t);
void vgpu_layer_init_avx2(struct vgpu_kernels *t);
void vgpu_matmul_init_avx512(struct vgpu_kernels *t);
void vgpu_matmul_init_amx(struct vgpu_kernels *t);
void vgpu_pack_init_avx512(struct vgpu_kernels *t);
void vgpu_layer_init_avx512(struct vgpu_kernels *t);

#endif
