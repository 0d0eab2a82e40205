// SPDX-License-Identifier: MIT
#include "gen_gemma.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gen_file.h"
#include "random.h"

#define CONTEXT 32768u
#define SPECIALS 4u
#define BYTES 256u
#define PRINTABLE ('~' - '!' + 1)
#define LAYER_TENSORS 13u

static const char *const words[] = {
	"\xe2\x96\x81", "he", "in", "er", "an", "on", "re", "at", "\xe2\x96\x81t", "\xe2\x96\x81""a",
	"\xe2\x96\x81the", "\xe2\x96\x81""an", "\xe2\x96\x81in", "ing",
};
#define WORDS (sizeof(words) / sizeof(words[0]))
#define VOCABULARY (SPECIALS + BYTES + PRINTABLE + (uint32_t)WORDS + 2)

/**
 * struct kind - how blocks of a type are made from random bytes
 * @values, @bytes: of a block
 * @half: where it has its F16 scales; 0 for the second: none
 * @second_shift: the second is so many powers of two above the first
 * @spread: standard deviation of a value at scale 1
 */
struct kind {
	uint32_t values, bytes, half[2];
	int second_shift;
	double spread;
};

/* Spreads follow from uniform codes and scales of sub-blocks. */
static const struct kind kinds[] = {
	[GGUF_F32] = { 1, 4, { 0, 0 }, 0, 1 },
	[GGUF_Q5_0] = { 32, 22, { 0, 0 }, 0, 9.2 },
	[GGUF_Q8_0] = { 32, 34, { 0, 0 }, 0, 74 },
	[GGUF_Q4_K] = { 256, 144, { 0, 2 }, 3, 263 },
	[GGUF_Q6_K] = { 256, 210, { 208, 0 }, 0, 1369 },
};

/**
 * struct tensor - one to write
 * @rows: 0: a norm
 */
struct tensor {
	char name[48];
	enum gguf_type type;
	uint32_t rows, cols;
};

struct model {
	struct vbrun_gen_gemma_params p;
	struct tensor *tensors;
	uint32_t count;
};

static uint64_t row_bytes(const struct tensor *t)
{
	return (uint64_t)t->cols / kinds[t->type].values * kinds[t->type].bytes;
}

static uint64_t tensor_bytes(const struct tensor *t)
{
	return (t->rows ? t->rows : 1) * row_bytes(t);
}

/* Fills in what was left open. */
static int check_params(struct vbrun_gen_gemma_params *p, struct vgpu_error *err)
{
	struct { uint32_t *number, usual; } open[] = {
		{ &p->layers, 6 }, { &p->hidden, 256 }, { &p->heads, 4 }, { &p->kv_heads, 1 },
		{ &p->dim, 64 }, { &p->ffn, 512 }, { &p->window, 32 }, { &p->pattern, 6 },
	};

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		if (!*open[i].number)
			*open[i].number = open[i].usual;
	if (p->layers > 128)
		return vbrun_fail(err, -EINVAL, "layers %u exceeds 128", p->layers);
	if (p->hidden < 32 || p->hidden > 4096 || p->hidden % 32)
		return vbrun_fail(err, -EINVAL, "hidden %u is not a multiple of 32 between 32 and 4096",
				  p->hidden);
	if (p->heads % p->kv_heads || p->dim % 2 || p->heads * p->dim > 65536)
		return vbrun_fail(err, -EINVAL, "%u heads of %u columns over %u do not fit", p->heads,
				  p->dim, p->kv_heads);
	if (p->ffn > 65536 || (!p->plain && (p->ffn % 256 || p->heads * p->dim % 256)))
		return vbrun_fail(err, -EINVAL, "ffn %u is not a multiple of 256 up to 65536", p->ffn);
	return 0;
}

/* --- what there is ------------------------------------------------------ */

static void add(struct model *m, enum gguf_type type, uint32_t rows, uint32_t cols,
		const char *format, uint32_t layer)
{
	struct tensor *t = &m->tensors[m->count++];

	t->type = m->p.plain || !rows ? GGUF_F32 : type;
	t->rows = rows;
	t->cols = cols;
	if (strstr(format, "%u"))
		snprintf(t->name, sizeof(t->name), "blk.%u.%s.weight", layer, format + 2);
	else
		snprintf(t->name, sizeof(t->name), "%s.weight", format);
}

/* Types alternate as they do in the real file. */
static void add_layer(struct model *m, uint32_t i)
{
	uint32_t h = m->p.hidden, q = m->p.heads * m->p.dim, k = m->p.kv_heads * m->p.dim;

	add(m, GGUF_Q5_0, k, h, "%uattn_k", i);
	add(m, GGUF_F32, 0, m->p.dim, "%uattn_k_norm", i);
	add(m, GGUF_F32, 0, h, "%uattn_norm", i);
	add(m, GGUF_Q4_K, h, q, "%uattn_output", i);
	add(m, GGUF_Q5_0, q, h, "%uattn_q", i);
	add(m, GGUF_F32, 0, m->p.dim, "%uattn_q_norm", i);
	add(m, i % 2 ? GGUF_Q5_0 : GGUF_Q8_0, k, h, "%uattn_v", i);
	add(m, i % 2 ? GGUF_Q4_K : GGUF_Q6_K, h, m->p.ffn, "%uffn_down", i);
	add(m, GGUF_Q5_0, m->p.ffn, h, "%uffn_gate", i);
	add(m, GGUF_F32, 0, h, "%uffn_norm", i);
	add(m, GGUF_Q5_0, m->p.ffn, h, "%uffn_up", i);
	add(m, GGUF_F32, 0, h, "%upost_attention_norm", i);
	add(m, GGUF_F32, 0, h, "%upost_ffw_norm", i);
}

static int list_tensors(struct model *m)
{
	m->tensors = calloc(m->p.layers * LAYER_TENSORS + 2, sizeof(*m->tensors));
	if (!m->tensors)
		return -ENOMEM;
	add(m, GGUF_F32, 0, m->p.hidden, "output_norm", 0);
	add(m, GGUF_Q8_0, VOCABULARY, m->p.hidden, "token_embd", 0);
	for (uint32_t i = 0; i < m->p.layers; i++)
		add_layer(m, i);
	return 0;
}

/* Ids as the real vocabulary has them, up to the bytes; merges score by their order. */
static void put_vocabulary(struct gguf_image *g)
{
	static const char *const specials[SPECIALS] = { "<pad>", "<eos>", "<bos>", "<unk>" };
	static char names[BYTES + PRINTABLE][8];
	const char *tokens[VOCABULARY];
	float scores[VOCABULARY] = { 0 };
	int32_t types[VOCABULARY];
	uint32_t n = 0;

	for (uint32_t i = 0; i < SPECIALS; i++, n++)
		tokens[n] = specials[i], types[n] = i == 3 ? 2 : 3;
	tokens[n] = "\n", types[n++] = 4;
	tokens[n] = "  ", types[n++] = 4;
	for (uint32_t i = 0; i < BYTES; i++, n++) {
		snprintf(names[i], sizeof(names[i]), "<0x%02X>", i);
		tokens[n] = names[i], types[n] = 6;
	}
	for (uint32_t i = 0; i < PRINTABLE; i++, n++) {
		snprintf(names[BYTES + i], sizeof(names[0]), "%c", (int)('!' + i));
		tokens[n] = names[BYTES + i], types[n] = 1;
	}
	for (uint32_t i = 0; i < WORDS; i++, n++)
		tokens[n] = words[i], types[n] = 1, scores[n] = -(float)i;
	gguf_text(g, "tokenizer.ggml.model", "llama");
	gguf_texts(g, "tokenizer.ggml.tokens", tokens, VOCABULARY);
	gguf_numbers(g, "tokenizer.ggml.scores", VGPU_META_F32, scores, VOCABULARY);
	gguf_numbers(g, "tokenizer.ggml.token_type", VGPU_META_I32, types, VOCABULARY);
	gguf_u32(g, "tokenizer.ggml.bos_token_id", 2);
	gguf_u32(g, "tokenizer.ggml.eos_token_id", 1);
	gguf_u32(g, "tokenizer.ggml.unknown_token_id", 3);
	gguf_flag(g, "tokenizer.ggml.add_bos_token", true);
	gguf_flag(g, "tokenizer.ggml.add_space_prefix", false);
}

static void put_entries(const struct model *m, struct gguf_image *g)
{
	gguf_text(g, "general.architecture", "gemma3");
	gguf_text(g, "general.name", "generated");
	gguf_u32(g, "gemma3.context_length", CONTEXT);
	gguf_u32(g, "gemma3.block_count", m->p.layers);
	gguf_u32(g, "gemma3.embedding_length", m->p.hidden);
	gguf_u32(g, "gemma3.feed_forward_length", m->p.ffn);
	gguf_u32(g, "gemma3.attention.head_count", m->p.heads);
	gguf_u32(g, "gemma3.attention.head_count_kv", m->p.kv_heads);
	gguf_u32(g, "gemma3.attention.key_length", m->p.dim);
	gguf_u32(g, "gemma3.attention.value_length", m->p.dim);
	gguf_f32(g, "gemma3.attention.layer_norm_rms_epsilon", 1e-6f);
	gguf_u32(g, "gemma3.attention.sliding_window", m->p.window);
	gguf_u32(g, "gemma3.attention.sliding_window_pattern", m->p.pattern);
	gguf_f32(g, "gemma3.rope.freq_base", 1000000);
	put_vocabulary(g);
	if (m->p.more)
		m->p.more(g);
	for (uint32_t i = 0; i < m->count; i++)
		gguf_tensor(g, m->tensors[i].name, m->tensors[i].type, m->tensors[i].rows,
			    m->tensors[i].cols, tensor_bytes(&m->tensors[i]));
}

/* --- numbers ------------------------------------------------------------ */

/* Norms lie around 1, matrices keep the size of what they are multiplied with. */
static void fill_floats(struct random *r, const struct tensor *t, unsigned char *out)
{
	double size = t->rows ? 1 / sqrt(t->cols) : 0.125, offset = t->rows ? 0 : 1;

	for (uint32_t i = 0; i < t->cols; i++) {
		float value = (float)(offset + size * random_gaussian(r));

		memcpy(out + i * sizeof(value), &value, sizeof(value));
	}
}

/* F16 of a power of two in its normal range. */
static void put_half(unsigned char *at, int power)
{
	uint16_t bits = (uint16_t)((power < -14 ? 1 : power + 15) << 10);

	memcpy(at, &bits, sizeof(bits));
}

static void fill_blocks(struct random *r, const struct tensor *t, unsigned char *out)
{
	const struct kind *kind = &kinds[t->type];
	int power = (int)lround(log2(1 / sqrt(t->cols) / kind->spread));
	uint64_t bits = 0;

	for (uint64_t i = 0; i < row_bytes(t); i++) {
		bits = i % 8 ? bits >> 8 : random_u64(r);
		out[i] = (unsigned char)bits;
	}
	for (unsigned char *b = out; b < out + row_bytes(t); b += kind->bytes) {
		put_half(b + kind->half[0], power);
		if (kind->half[1])
			put_half(b + kind->half[1], power + kind->second_shift);
	}
}

static int put_tensor(struct gen_file *f, struct random *r, const struct tensor *t)
{
	uint64_t gap = gguf_gap(tensor_bytes(t));
	void *to;
	int rc = 0;

	for (uint32_t row = 0; row < (t->rows ? t->rows : 1) && !rc; row++) {
		rc = gen_file_room(f, row_bytes(t), &to);
		if (!rc && t->type == GGUF_F32)
			fill_floats(r, t, to);
		else if (!rc)
			fill_blocks(r, t, to);
	}
	if (!rc && gap) {
		rc = gen_file_room(f, gap, &to);
		if (!rc)
			memset(to, 0, gap);
	}
	return rc;
}

/* The header goes in pieces that the file's buffer holds. */
static int put_header(struct gen_file *f, const unsigned char *bytes, size_t count)
{
	size_t step = 64 << 10, n;
	void *to;
	int rc = 0;

	for (size_t at = 0; at < count && !rc; at += n) {
		n = count - at < step ? count - at : step;
		rc = gen_file_room(f, n, &to);
		if (!rc)
			memcpy(to, bytes + at, n);
	}
	return rc;
}

static int put_file(const struct model *m, const unsigned char *header, size_t header_bytes,
		    uint64_t data_bytes, vbrun_gen_progress progress, void *arg,
		    struct vgpu_error *err)
{
	struct random r = { m->p.seed };
	struct gen_file f = { .fd = -1 };
	int rc = gen_file_create(&f, m->p.path, header_bytes + data_bytes, progress, arg, err);

	if (!rc)
		rc = put_header(&f, header, header_bytes);
	for (uint32_t i = 0; i < m->count && !rc; i++)
		rc = put_tensor(&f, &r, &m->tensors[i]);
	if (!rc)
		rc = gen_file_commit(&f);
	gen_file_discard(&f);
	return rc;
}

int vbrun_gen_gemma(const struct vbrun_gen_gemma_params *p, vbrun_gen_progress progress, void *arg,
		    struct vgpu_error *err)
{
	struct model m = { .p = *p };
	struct gguf_image image = { 0 };
	unsigned char *header = NULL;
	size_t header_bytes;
	uint64_t data_bytes;
	int rc = check_params(&m.p, err);

	if (rc)
		return rc;
	if (list_tensors(&m))
		return vbrun_fail(err, -ENOMEM, "out of memory");
	put_entries(&m, &image);
	data_bytes = image.data_bytes;
	if (gguf_finish(&image, &header, &header_bytes))
		rc = vbrun_fail(err, -ENOMEM, "out of memory");
	else
		rc = put_file(&m, header, header_bytes, data_bytes, progress, arg, err);
	free(header);
	free(m.tensors);
	return rc;
}
