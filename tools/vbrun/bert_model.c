// SPDX-License-Identifier: MIT
#include "bert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <json-c/json.h>

#include "fail.h"

/* Of BERT's configuration, where it says nothing else. */
#define EPS_DEFAULT 1e-12f

static const char *const matrix_names[BERT_MATRICES] = {
	"attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight",
	"attention.output.dense.weight", "intermediate.dense.weight", "output.dense.weight",
};

static const char *const vector_names[BERT_VECTORS] = {
	"attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias",
	"attention.output.dense.bias", "intermediate.dense.bias", "output.dense.bias",
	"attention.output.LayerNorm.weight", "attention.output.LayerNorm.bias",
	"output.LayerNorm.weight", "output.LayerNorm.bias",
};

uint32_t bert_rows(const struct bert_model *model, enum bert_matrix which)
{
	return which == BERT_UP ? model->ffn : model->hidden;
}

uint32_t bert_cols(const struct bert_model *model, enum bert_matrix which)
{
	return which == BERT_DOWN ? model->ffn : model->hidden;
}

/* --- config.json -------------------------------------------------------- */

static int config_number(struct json_object *config, const char *key, uint32_t max, uint32_t *out,
			 struct vgpu_error *err)
{
	struct json_object *value;
	int64_t n;

	if (!json_object_object_get_ex(config, key, &value))
		return vbrun_fail(err, -EINVAL, "config.json: no %s", key);
	if (!json_object_is_type(value, json_type_int))
		return vbrun_fail(err, -EINVAL, "config.json: %s is %.40s, no whole number", key,
				  json_object_to_json_string(value));
	n = json_object_get_int64(value);
	if (n < 1 || n > max)
		return vbrun_fail(err, -EINVAL, "config.json: %s %lld is outside 1 .. %u", key,
				  (long long)n, max);
	*out = (uint32_t)n;
	return 0;
}

/* A model that says it is computed another way would give other numbers here. */
static int config_word(struct json_object *config, const char *key, const char *only,
		       struct vgpu_error *err)
{
	struct json_object *value;

	if (!json_object_object_get_ex(config, key, &value) ||
	    !strcmp(json_object_get_string(value) ? json_object_get_string(value) : "", only))
		return 0;
	return vbrun_fail(err, -EOPNOTSUPP, "config.json: %s is %.40s, must be \"%s\"", key,
			  json_object_to_json_string(value), only);
}

static int config_eps(struct json_object *config, float *out, struct vgpu_error *err)
{
	struct json_object *value;

	*out = EPS_DEFAULT;
	if (!json_object_object_get_ex(config, "layer_norm_eps", &value))
		return 0;
	*out = (float)json_object_get_double(value);
	if ((!json_object_is_type(value, json_type_double) &&
	     !json_object_is_type(value, json_type_int)) || !(*out >= 0 && *out <= 1))
		return vbrun_fail(err, -EINVAL, "config.json: layer_norm_eps %.40s is outside 0 .. 1",
				  json_object_to_json_string(value));
	return 0;
}

/* The name that the summary prints: what the config and the shape admit to. */
static void take_name(struct bert_model *model, struct json_object *config, const char *folder)
{
	struct json_object *value;
	const char *slash = strrchr(folder, '/');
	const char *name = slash && slash[1] ? slash + 1 : folder, *from = "";

	if (json_object_object_get_ex(config, "_name_or_path", &value))
		from = json_object_get_string(value);
	if (!strcmp(from, "generated"))
		name = "generated";
	else if (strstr(from, "MiniLM-L6-H384-uncased") || strstr(from, "all-MiniLM-L6-v2"))
		name = "all-MiniLM-L6-v2";
	snprintf(model->name, sizeof(model->name), "%s", name);
}

static int take_config(struct bert_model *model, struct json_object *config, const char *folder,
		       struct vgpu_error *err)
{
	int rc;

	rc = config_word(config, "model_type", "bert", err);
	if (!rc)
		rc = config_word(config, "hidden_act", "gelu", err);
	if (!rc)
		rc = config_word(config, "position_embedding_type", "absolute", err);
	if (!rc)
		rc = config_eps(config, &model->eps, err);
	if (!rc)
		rc = config_number(config, "num_hidden_layers", BERT_LAYERS_MAX, &model->layers,
				   err);
	if (!rc)
		rc = config_number(config, "hidden_size", 16384, &model->hidden, err);
	if (!rc)
		rc = config_number(config, "num_attention_heads", 1024, &model->heads, err);
	if (!rc)
		rc = config_number(config, "intermediate_size", 65536, &model->ffn, err);
	if (rc)
		return rc;
	if (model->hidden % model->heads)
		return vbrun_fail(err, -EINVAL,
			"config.json: hidden_size %u is no multiple of num_attention_heads %u",
			model->hidden, model->heads);
	take_name(model, config, folder);
	return 0;
}

static int read_config(struct bert_model *model, const char *folder, struct vgpu_error *err)
{
	struct json_object *config;
	char *path;
	int rc;

	if (asprintf(&path, "%s/config.json", folder) < 0)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	config = json_object_from_file(path);
	if (!config && access(path, R_OK))
		rc = vbrun_fail(err, -errno, "%.160s: %s", path, strerror(errno));
	else if (!config)
		rc = vbrun_fail(err, -EINVAL, "%.160s: is no JSON", path);
	else
		rc = take_config(model, config, folder, err);
	json_object_put(config);
	free(path);
	return rc;
}

/* --- the checkpoint ----------------------------------------------------- */

/* @rows 0: a vector of @cols; UINT32_MAX: any number of rows. */
static int take_tensor(const struct bert_model *model, const char *name, uint32_t rows,
		       uint32_t cols, const struct vgpu_tensor **out, struct vgpu_error *err)
{
	const struct vgpu_tensor *t = vgpu_checkpoint_find(model->ck, name);
	uint32_t rank = rows ? 2 : 1;

	if (!t)
		return vbrun_fail(err, -EINVAL, "tensor %s is missing", name);
	if (t->dtype != VGPU_DTYPE_F32)
		return vbrun_fail(err, -EINVAL, "tensor %s: type %.16s, must be F32", name,
				  t->dtype_name);
	if (t->rank != rank || t->shape[rank - 1] != cols || t->shape[0] > INT32_MAX ||
	    (rows && rows != UINT32_MAX && t->shape[0] != rows))
		return vbrun_fail(err, -EINVAL,
				  "tensor %s: rank %u, [%llu][%llu], must be rank %u, [%u][%u]", name,
				  t->rank, (unsigned long long)t->shape[0],
				  (unsigned long long)t->shape[1], rank, rows ? rows : cols,
				  rows ? cols : 1);
	*out = t;
	return 0;
}

static int take_layer(struct bert_model *model, uint32_t layer, struct vgpu_error *err)
{
	char name[96];
	int rc = 0;

	for (uint32_t i = 0; i < BERT_MATRICES && !rc; i++) {
		snprintf(name, sizeof(name), "encoder.layer.%u.%s", layer, matrix_names[i]);
		rc = take_tensor(model, name, bert_rows(model, i), bert_cols(model, i),
				 &model->matrix[layer][i], err);
	}
	for (uint32_t i = 0; i < BERT_VECTORS && !rc; i++) {
		snprintf(name, sizeof(name), "encoder.layer.%u.%s", layer, vector_names[i]);
		rc = take_tensor(model, name, 0, i == BERT_UP ? model->ffn : model->hidden,
				 &model->vector[layer][i], err);
	}
	return rc;
}

static int take_embeddings(struct bert_model *model, struct vgpu_error *err)
{
	uint32_t h = model->hidden;
	int rc;

	rc = take_tensor(model, "embeddings.word_embeddings.weight", UINT32_MAX, h,
			 &model->word_table, err);
	if (!rc)
		rc = take_tensor(model, "embeddings.position_embeddings.weight", UINT32_MAX, h,
				 &model->position_table, err);
	if (!rc)
		rc = take_tensor(model, "embeddings.token_type_embeddings.weight", UINT32_MAX, h,
				 &model->head[BERT_HEAD_TYPE], err);
	if (!rc)
		rc = take_tensor(model, "embeddings.LayerNorm.weight", 0, h,
				 &model->head[BERT_HEAD_GAMMA], err);
	if (!rc)
		rc = take_tensor(model, "embeddings.LayerNorm.bias", 0, h,
				 &model->head[BERT_HEAD_BETA], err);
	if (!rc && model->position_table->shape[0] < WORDPIECE_MAX_IDS)
		rc = vbrun_fail(err, -EINVAL, "position_embeddings has %llu rows, needs %u",
				(unsigned long long)model->position_table->shape[0],
				WORDPIECE_MAX_IDS);
	return rc;
}

static int take_checkpoint(struct bert_model *model, const char *folder, struct vgpu_error *err)
{
	int rc = vgpu_checkpoint_open(folder, &model->ck, err);

	if (rc)
		return rc;
	if (vgpu_checkpoint_file_count(model->ck) != 1)
		return vbrun_fail(err, -EINVAL, "%.120s: %zu files, this reads a model of one",
				  folder, vgpu_checkpoint_file_count(model->ck));
	rc = take_embeddings(model, err);
	for (uint32_t i = 0; i < model->layers && !rc; i++)
		rc = take_layer(model, i, err);
	return rc;
}

static int take_words(struct bert_model *model, const char *folder, struct vgpu_error *err)
{
	char *path;
	int rc;

	if (asprintf(&path, "%s/vocab.txt", folder) < 0)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	rc = wordpiece_open(path, &model->words, err);
	free(path);
	if (!rc && wordpiece_count(model->words) > model->word_table->shape[0])
		rc = vbrun_fail(err, -EINVAL, "vocab.txt has %zu tokens, the embedding %llu rows",
				wordpiece_count(model->words),
				(unsigned long long)model->word_table->shape[0]);
	return rc;
}

int bert_model_open(const char *folder, struct bert_model *out, struct vgpu_error *err)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = read_config(out, folder, err);
	if (!rc)
		rc = take_checkpoint(out, folder, err);
	if (!rc)
		rc = take_words(out, folder, err);
	if (rc)
		bert_model_close(out);
	return rc;
}

void bert_model_close(struct bert_model *model)
{
	wordpiece_close(model->words);
	vgpu_checkpoint_close(model->ck);
	memset(model, 0, sizeof(*model));
}

int bert_model_floats(const struct bert_model *model, const struct vgpu_tensor *t, float *out)
{
	int fd = vgpu_checkpoint_file_fd(model->ck, t->file);
	uint64_t done = 0;

	while (done < t->bytes) {
		ssize_t n = pread(fd, (char *)out + done, t->bytes - done,
				  (off_t)(t->offset + done));

		if (n <= 0)
			return -EIO;
		done += (uint64_t)n;
	}
	return 0;
}
