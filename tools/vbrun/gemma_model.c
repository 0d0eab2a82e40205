// SPDX-License-Identifier: MIT
#include "gemma.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"

#define ARCHITECTURE "gemma3"
/* What the report and llama.cpp take where the file says nothing. */
#define LOCAL_BASE 10000.0f
#define PATTERN 6u
/* The size whose scores are divided by the root of hidden / heads instead of a head's. */
#define LAYERS_OF_27B 62u

static const char *const matrix_names[GEMMA_MATRICES] = {
	"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
};

static const char *const norm_names[GEMMA_NORMS] = {
	"attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "ffn_norm",
	"post_ffw_norm",
};

uint32_t gemma_rows(const struct gemma_model *m, enum gemma_matrix which)
{
	switch (which) {
	case GEMMA_Q:
		return m->heads * m->dim;
	case GEMMA_K:
	case GEMMA_V:
		return m->kv_heads * m->dim;
	case GEMMA_GATE:
	case GEMMA_UP:
		return m->ffn;
	default:
		return m->hidden;
	}
}

uint32_t gemma_cols(const struct gemma_model *m, enum gemma_matrix which)
{
	if (which == GEMMA_O)
		return m->heads * m->dim;
	return which == GEMMA_DOWN ? m->ffn : m->hidden;
}

static uint32_t norm_cols(const struct gemma_model *m, enum gemma_norm which)
{
	return which == GEMMA_OF_Q || which == GEMMA_OF_K ? m->dim : m->hidden;
}

/* --- metadata ----------------------------------------------------------- */

/* A number that must be there; its key follows "gemma3.". */
static int take_number(const struct gemma_model *m, const char *key, uint32_t max, uint32_t *out,
		       struct vgpu_error *err)
{
	char full[96];
	int rc;

	snprintf(full, sizeof(full), ARCHITECTURE ".%s", key);
	rc = vgpu_checkpoint_meta_u32(m->ck, full, out);
	if (rc)
		return vbrun_fail(err, -EINVAL, "%s %s", full,
				  rc == -ENOENT ? "is missing" : "is no whole number below 2^32");
	if (*out < 1 || *out > max)
		return vbrun_fail(err, -EINVAL, "%s %u is outside 1 .. %u", full, *out, max);
	return 0;
}

/* One that has a value where the file says nothing. */
static int take_option(const struct gemma_model *m, const char *key, uint32_t max, uint32_t usual,
		       uint32_t *out, struct vgpu_error *err)
{
	char full[96];

	*out = usual;
	snprintf(full, sizeof(full), ARCHITECTURE ".%s", key);
	return vgpu_checkpoint_meta_find(m->ck, full) ? take_number(m, key, max, out, err) : 0;
}

/* A positive real number; @usual 0: it must be there. */
static int take_real(const struct gemma_model *m, const char *key, float usual, float *out,
		     struct vgpu_error *err)
{
	char full[96];
	int rc;

	snprintf(full, sizeof(full), ARCHITECTURE ".%s", key);
	rc = vgpu_checkpoint_meta_f32(m->ck, full, out);
	if (rc == -ENOENT && usual > 0) {
		*out = usual;
		return 0;
	}
	if (rc)
		return vbrun_fail(err, -EINVAL, "%s %s", full,
				  rc == -ENOENT ? "is missing" : "is no real number");
	if (!(*out > 0) || !isfinite(*out))
		return vbrun_fail(err, -EINVAL, "%s %g is not above 0 and finite", full, (double)*out);
	return 0;
}

static int check_architecture(const struct gemma_model *m, struct vgpu_error *err)
{
	struct vgpu_string name;
	int rc = vgpu_checkpoint_meta_string(m->ck, "general.architecture", &name);

	if (rc)
		return vbrun_fail(err, -EINVAL, "general.architecture %s: generate takes a GGUF file of a "
				  "decoder; known: " ARCHITECTURE,
				  rc == -ENOENT ? "is missing" : "is no text");
	if (strcmp(name.text, ARCHITECTURE))
		return vbrun_fail(err, -EOPNOTSUPP, "architecture '%.40s' is not known; known: "
				  ARCHITECTURE, name.text);
	return 0;
}

static int take_shape(struct gemma_model *m, struct vgpu_error *err)
{
	uint32_t value_dim;
	int rc = take_number(m, "block_count", GEMMA_LAYERS_MAX, &m->layers, err);

	if (!rc)
		rc = take_number(m, "embedding_length", 65536, &m->hidden, err);
	if (!rc)
		rc = take_number(m, "feed_forward_length", 1 << 20, &m->ffn, err);
	if (!rc)
		rc = take_number(m, "attention.head_count", 1024, &m->heads, err);
	if (!rc)
		rc = take_option(m, "attention.head_count_kv", 1024, m->heads, &m->kv_heads, err);
	if (!rc)
		rc = take_number(m, "attention.key_length", 4096, &m->dim, err);
	if (!rc)
		rc = take_number(m, "attention.value_length", 4096, &value_dim, err);
	if (!rc)
		rc = take_number(m, "context_length", INT32_MAX, &m->context, err);
	if (!rc)
		rc = take_real(m, "attention.layer_norm_rms_epsilon", 0, &m->eps, err);
	if (rc)
		return rc;
	if (m->heads % m->kv_heads)
		return vbrun_fail(err, -EINVAL, "attention.head_count_kv %u does not divide "
				  "attention.head_count %u", m->kv_heads, m->heads);
	if (value_dim != m->dim)
		return vbrun_fail(err, -EOPNOTSUPP, "attention.value_length %u is not key_length %u: not "
				  "known", value_dim, m->dim);
	return 0;
}

static int take_scale(struct gemma_model *m, struct vgpu_error *err)
{
	uint32_t of = m->layers == LAYERS_OF_27B ? m->hidden / m->heads : m->dim;

	return take_real(m, "attention.scale", 1.0f / sqrtf((float)of), &m->scale, err);
}

/* What would change the numbers and is not computed. */
static int check_absent(const struct gemma_model *m, struct vgpu_error *err)
{
	static const char *const keys[] = { "attn_logit_softcapping", "final_logit_softcapping",
					    "expert_count" };
	struct vgpu_string text;
	char full[96];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(full, sizeof(full), ARCHITECTURE ".%s", keys[i]);
		if (vgpu_checkpoint_meta_find(m->ck, full))
			return vbrun_fail(err, -EOPNOTSUPP, "%s is not known", full);
	}
	if (!vgpu_checkpoint_meta_string(m->ck, ARCHITECTURE ".rope.scaling.type", &text) &&
	    strcmp(text.text, "none") && strcmp(text.text, "linear"))
		return vbrun_fail(err, -EOPNOTSUPP, ARCHITECTURE ".rope.scaling.type '%.40s' is not "
				  "known; known: none, linear", text.text);
	return 0;
}

/* Positions are divided by it in the layers that see all. */
static int take_scaling(const struct gemma_model *m, float *out, struct vgpu_error *err)
{
	struct vgpu_string text;
	float factor = 1;
	int rc = 0;

	if (!vgpu_checkpoint_meta_string(m->ck, ARCHITECTURE ".rope.scaling.type", &text) &&
	    !strcmp(text.text, "linear"))
		rc = take_real(m, "rope.scaling.factor", 0, &factor, err);
	*out = 1 / factor;
	return rc;
}

/* Which layers see only a window: all but each pattern's last, or as a list says. */
static int take_windows(struct gemma_model *m, struct vgpu_error *err)
{
	static const char key[] = ARCHITECTURE ".attention.sliding_window_pattern";
	struct vgpu_meta_array list = { 0 };
	uint32_t window, pattern = PATTERN;
	bool listed = !vgpu_checkpoint_meta_array(m->ck, key, &list);
	int rc = take_number(m, "attention.sliding_window", INT32_MAX, &window, err);

	if (!rc && !listed)
		rc = take_option(m, "attention.sliding_window_pattern", GEMMA_LAYERS_MAX, PATTERN,
				 &pattern, err);
	if (!rc && listed && (list.type != VGPU_META_BOOL || list.count != m->layers))
		rc = vbrun_fail(err, -EINVAL, "%s is no list of %u truth values", key, m->layers);
	for (uint32_t i = 0; i < m->layers && !rc; i++) {
		bool local = listed ? ((const uint8_t *)list.data)[i] : (i + 1) % pattern != 0;

		m->layer[i].window = local ? window : 0;
	}
	return rc;
}

static int take_rotation(struct gemma_model *m, struct vgpu_error *err)
{
	float global, local, scale;
	int rc = take_real(m, "rope.freq_base", 0, &global, err);

	if (!rc)
		rc = take_real(m, "rope.freq_base_swa", LOCAL_BASE, &local, err);
	if (!rc)
		rc = take_scaling(m, &scale, err);
	if (!rc)
		rc = take_option(m, "rope.dimension_count", m->dim, m->dim, &m->rot, err);
	if (!rc && m->rot % 2)
		rc = vbrun_fail(err, -EINVAL, "%u columns of a head rotate: must be even", m->rot);
	for (uint32_t i = 0; i < m->layers && !rc; i++) {
		m->layer[i].base = m->layer[i].window ? local : global;
		m->layer[i].freq_scale = m->layer[i].window ? 1 : scale;
	}
	return rc;
}

/* --- tensors ------------------------------------------------------------ */

/* @rows 0: any number of them. */
static int take_matrix(const struct gemma_model *m, const char *name, uint32_t rows, uint32_t cols,
		       const struct weight **out, struct vgpu_error *err)
{
	const struct weight *w = NULL;

	for (size_t i = 0; i < m->weights.count && !w; i++)
		if (!strcmp(m->weights.list[i].name, name))
			w = &m->weights.list[i];
	if (!w)
		return vbrun_fail(err, -EINVAL, "matrix %s is missing", name);
	if (w->experts || (rows && w->n != rows) || w->k != cols)
		return vbrun_fail(err, -EINVAL, "matrix %s is [%u][%u], must be [%u][%u]", name, w->n,
				  w->k, rows ? rows : w->n, cols);
	*out = w;
	return 0;
}

static int take_norm(const struct gemma_model *m, const char *name, uint32_t cols,
		     const struct vgpu_tensor **out, struct vgpu_error *err)
{
	const struct vgpu_tensor *t = vgpu_checkpoint_find(m->ck, name);

	if (!t)
		return vbrun_fail(err, -EINVAL, "tensor %s is missing", name);
	if (t->dtype != VGPU_DTYPE_F32 || t->rank != 1 || t->shape[0] != cols)
		return vbrun_fail(err, -EINVAL, "tensor %s: type %.16s, rank %u, [%llu], must be F32 [%u]",
				  name, t->dtype_name, t->rank, (unsigned long long)t->shape[0], cols);
	*out = t;
	return 0;
}

static int take_layer(struct gemma_model *m, uint32_t layer, struct vgpu_error *err)
{
	char name[64];
	int rc = 0;

	for (uint32_t i = 0; i < GEMMA_MATRICES && !rc; i++) {
		snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, matrix_names[i]);
		rc = take_matrix(m, name, gemma_rows(m, i), gemma_cols(m, i),
				 &m->layer[layer].matrix[i], err);
	}
	for (uint32_t i = 0; i < GEMMA_NORMS && !rc; i++) {
		snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, norm_names[i]);
		rc = take_norm(m, name, norm_cols(m, i), &m->layer[layer].norm[i], err);
	}
	return rc;
}

static bool is_used(const struct gemma_model *m, const struct vgpu_tensor *t)
{
	bool used = t == m->last_norm || !strcmp(t->name, m->embedding->name) ||
		    !strcmp(t->name, m->head->name);

	for (uint32_t i = 0; i < m->layers && !used; i++) {
		for (uint32_t j = 0; j < GEMMA_MATRICES; j++)
			used |= !strcmp(t->name, m->layer[i].matrix[j]->name);
		for (uint32_t j = 0; j < GEMMA_NORMS; j++)
			used |= t == m->layer[i].norm[j];
	}
	return used;
}

/* To leave out a tensor would be to run another model. */
static int check_all_used(const struct gemma_model *m, struct vgpu_error *err)
{
	for (size_t i = 0; i < vgpu_checkpoint_tensor_count(m->ck); i++) {
		const struct vgpu_tensor *t = vgpu_checkpoint_tensor(m->ck, i);

		if (!is_used(m, t))
			return vbrun_fail(err, -EOPNOTSUPP, "tensor '%.80s' has no place in " ARCHITECTURE
					  " as it is known here", t->name);
	}
	return 0;
}

static int take_tensors(struct gemma_model *m, struct vgpu_error *err)
{
	int rc = take_matrix(m, "token_embd.weight", 0, m->hidden, &m->embedding, err);

	m->head = m->embedding;
	if (!rc && vgpu_checkpoint_find(m->ck, "output.weight"))
		rc = take_matrix(m, "output.weight", m->embedding->n, m->hidden, &m->head, err);
	if (!rc)
		rc = take_norm(m, "output_norm.weight", m->hidden, &m->last_norm, err);
	for (uint32_t i = 0; i < m->layers && !rc; i++)
		rc = take_layer(m, i, err);
	return rc ? rc : check_all_used(m, err);
}

static int take_weights(struct gemma_model *m, struct vgpu_error *err)
{
	char why[512];

	if (weights_list(m->ck, WEIGHTS_KEEP, &m->weights))
		return vbrun_fail(err, -ENOMEM, "out of memory");
	if (weights_all(&m->weights))
		return 0;
	weights_refusal(m->ck, &m->weights, why, sizeof(why));
	return vbrun_fail(err, -EOPNOTSUPP, "%s", why);
}

static int take_words(struct gemma_model *m, struct vgpu_error *err)
{
	int rc = spm_open(m->ck, &m->words, err);

	if (!rc && spm_count(m->words) != m->embedding->n)
		rc = vbrun_fail(err, -EINVAL, "the vocabulary has %u tokens, the embedding %u rows",
				spm_count(m->words), m->embedding->n);
	return rc;
}

static void take_name(struct gemma_model *m, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct vgpu_string name;

	if (vgpu_checkpoint_meta_string(m->ck, "general.name", &name) || !name.bytes)
		name.text = slash && slash[1] ? slash + 1 : path;
	snprintf(m->name, sizeof(m->name), "%s", name.text);
}

static int take_all(struct gemma_model *m, struct vgpu_error *err)
{
	int rc = check_architecture(m, err);

	if (!rc)
		rc = check_absent(m, err);
	if (!rc)
		rc = take_shape(m, err);
	if (!rc)
		rc = take_scale(m, err);
	if (!rc)
		rc = take_windows(m, err);
	if (!rc)
		rc = take_rotation(m, err);
	if (!rc)
		rc = take_weights(m, err);
	if (!rc)
		rc = take_tensors(m, err);
	return rc ? rc : take_words(m, err);
}

/* What is wrong with the content, behind the name that errors of opening have already. */
static void name_file(struct vgpu_error *err, const char *path)
{
	char text[sizeof(err->text)];

	if (!err)
		return;
	memcpy(text, err->text, sizeof(text));
	snprintf(err->text, sizeof(err->text), "%.100s: %.150s", path, text);
}

int gemma_model_open(const char *path, struct gemma_model *out, struct vgpu_error *err)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = vgpu_checkpoint_open(path, &out->ck, err);
	if (!rc) {
		rc = take_all(out, err);
		if (rc)
			name_file(err, path);
	}
	if (!rc)
		take_name(out, path);
	else
		gemma_model_close(out);
	return rc;
}

void gemma_model_close(struct gemma_model *model)
{
	spm_close(model->words);
	weights_free(&model->weights);
	vgpu_checkpoint_close(model->ck);
	memset(model, 0, sizeof(*model));
}
