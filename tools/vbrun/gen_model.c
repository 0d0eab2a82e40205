// SPDX-License-Identifier: MIT
/*
 * A BERT-shaped model that stands in for all-MiniLM-L6-v2 where that cannot be had: the
 * same names and types, Gaussian weights of the size that keeps activations near 1.
 */
#include "gen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "gen_plan.h"

#define POSITIONS 512u
#define TOKEN_TYPES 2u
/* Quarters of a power of two: 1/16, 1/64, and 1/8 around 1 for norms. */
#define EMBEDDING_SHIFT (-16)
#define BIAS_SHIFT (-24)
#define NORM_SHIFT (-12)
#define NORM_OFFSET 1.0f

/* All files are whole before the first gets its name. */
#define BESIDE ".new"
#define PATH_BYTES 4096u

/* BERT's ids of the special tokens; those between are not used. */
#define FIRST_SPECIAL 100u

static const char *const specials[] = { "[UNK]", "[CLS]", "[SEP]", "[MASK]" };

static const char *const words[] = {
	"the", "of", "and", "in", "to", "was", "he", "is", "as", "for", "on", "with", "that",
	"it", "his", "by", "at", "from", "her", "she", "you", "had", "an", "were", "but", "be",
	"this", "are", "not", "my", "they", "one", "which", "or", "have", "him", "me", "first",
	"all", "also", "their", "has", "up", "who", "out", "been", "when", "after", "there",
	"into", "new", "two", "its", "time", "would", "no", "what", "about", "said", "we",
	"over", "then", "other", "so", "more", "can", "if", "like", "back", "them", "only",
	"some", "could", "where", "just", "during", "before", "do", "made", "school",
	"through", "than", "now", "years", "most", "world", "may", "between", "down", "well",
	"three", "year", "while", "will", "later", "under", "around", "did", "such", "being",
	"##ing", "##ed", "##er", "##ly", "##es", "##ion", "##al", "##ness", "##ment",
};

struct model {
	struct vbrun_gen_model_params p;
	uint32_t vocab;
};

/* Fills in what was left open. */
static int check_params(struct vbrun_gen_model_params *p, struct vgpu_error *err)
{
	if (!p->layers)
		p->layers = 6;
	if (!p->hidden)
		p->hidden = 384;
	if (!p->heads)
		p->heads = 12;
	if (!p->ffn)
		p->ffn = 1536;
	if (p->layers > 48)
		return vbrun_fail(err, -EINVAL, "layers %u exceeds 48", p->layers);
	if (p->hidden < 32 || p->hidden > 4096 || p->hidden % p->heads)
		return vbrun_fail(err, -EINVAL,
			"hidden %u is not a multiple of heads %u between 32 and 4096", p->hidden,
			p->heads);
	if (p->ffn < 32 || p->ffn > 16384)
		return vbrun_fail(err, -EINVAL, "ffn %u is not between 32 and 16384", p->ffn);
	return 0;
}

static uint32_t print_lines(FILE *out, const char *const *lines, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		fprintf(out, "%s\n", lines[i]);
	return (uint32_t)count;
}

/* Every ASCII word has pieces: each letter and digit alone and inside a word. */
static uint32_t print_vocab(FILE *out)
{
	uint32_t count = FIRST_SPECIAL, i;
	char c;

	fprintf(out, "[PAD]\n");
	for (i = 1; i < FIRST_SPECIAL; i++)
		fprintf(out, "[unused%u]\n", i - 1);
	count += print_lines(out, specials, sizeof(specials) / sizeof(specials[0]));
	for (c = '!'; c <= '~'; c++) {
		if (c >= 'A' && c <= 'Z')
			continue;
		fprintf(out, "%c\n", c);
		count++;
		if ((c < 'a' || c > 'z') && (c < '0' || c > '9'))
			continue;
		fprintf(out, "##%c\n", c);
		count++;
	}
	return count + print_lines(out, words, sizeof(words) / sizeof(words[0]));
}

static void print_config(FILE *out, const struct model *m)
{
	fprintf(out,
		"{\n"
		"  \"_name_or_path\": \"generated\",\n"
		"  \"architectures\": [\"BertModel\"],\n"
		"  \"hidden_act\": \"gelu\",\n"
		"  \"hidden_size\": %u,\n"
		"  \"intermediate_size\": %u,\n"
		"  \"layer_norm_eps\": 1e-12,\n"
		"  \"max_position_embeddings\": %u,\n"
		"  \"model_type\": \"bert\",\n"
		"  \"num_attention_heads\": %u,\n"
		"  \"num_hidden_layers\": %u,\n"
		"  \"pad_token_id\": 0,\n"
		"  \"type_vocab_size\": %u,\n"
		"  \"vocab_size\": %u\n"
		"}\n",
		m->p.hidden, m->p.ffn, POSITIONS, m->p.heads, m->p.layers, TOKEN_TYPES,
		m->vocab);
}

static char *join(const char *folder, const char *name, struct vgpu_error *err)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		vbrun_fail(err, -ENOMEM, "%.160s: out of memory", folder);
		return NULL;
	}
	return path;
}

/* A small text file, beside its place. */
static int write_text(struct model *m, const char *name, bool vocab, struct vgpu_error *err)
{
	char *path = join(m->p.folder, name, err);
	FILE *out = path ? fopen(path, "we") : NULL;
	bool bad;
	int rc = 0;

	if (!out) {
		rc = path ? vbrun_fail(err, -errno, "%.160s: %s", path, strerror(errno)) :
			    -ENOMEM;
		goto free_path;
	}
	if (vocab)
		m->vocab = print_vocab(out);
	else
		print_config(out, m);
	errno = 0;
	bad = ferror(out);
	if (fclose(out) || bad)
		rc = vbrun_fail(err, errno ? -errno : -EIO, "%.160s: %s", path,
				strerror(errno ? errno : EIO));
free_path:
	free(path);
	return rc;
}

static void add_flat(struct gen_plan *plan, const char *prefix, const char *name,
		     uint32_t rows, uint32_t k, int shift, float offset)
{
	const struct gen_matrix m = {
		.element = GEN_F32, .flat = true, .rows = rows, .k = k, .shift = shift,
		.offset = offset,
	};
	const uint64_t shape[] = { rows, k };

	/* A row by itself is a vector, which has one dimension. */
	gen_plan_add(plan, rows > 1 ? 2 : 1, rows > 1 ? shape : shape + 1, 1, &m, "%s.%s",
		     prefix, name);
}

static void add_linear(struct gen_plan *plan, const char *prefix, uint32_t n, uint32_t k)
{
	add_flat(plan, prefix, "weight", n, k, gen_root_shift(k), 0);
	add_flat(plan, prefix, "bias", 1, n, BIAS_SHIFT, 0);
}

static void add_norm(struct gen_plan *plan, const char *prefix, uint32_t k)
{
	add_flat(plan, prefix, "weight", 1, k, NORM_SHIFT, NORM_OFFSET);
	add_flat(plan, prefix, "bias", 1, k, BIAS_SHIFT, 0);
}

static void add_layer(struct gen_plan *plan, const struct model *m, uint32_t layer)
{
	static const char *const self[] = { "query", "key", "value" };
	uint32_t h = m->p.hidden, i;
	char prefix[80];

#define NAME(...) (snprintf(prefix, sizeof(prefix), __VA_ARGS__), prefix)
	for (i = 0; i < 3; i++)
		add_linear(plan, NAME("encoder.layer.%u.attention.self.%s", layer, self[i]), h,
			   h);
	add_linear(plan, NAME("encoder.layer.%u.attention.output.dense", layer), h, h);
	add_norm(plan, NAME("encoder.layer.%u.attention.output.LayerNorm", layer), h);
	add_linear(plan, NAME("encoder.layer.%u.intermediate.dense", layer), m->p.ffn, h);
	add_linear(plan, NAME("encoder.layer.%u.output.dense", layer), h, m->p.ffn);
	add_norm(plan, NAME("encoder.layer.%u.output.LayerNorm", layer), h);
#undef NAME
}

static void add_embeddings(struct gen_plan *plan, const struct model *m)
{
	static const struct gen_matrix positions = {
		.element = GEN_POSITION, .rows = 1, .k = POSITIONS,
	};
	uint32_t h = m->p.hidden;

	gen_plan_add(plan, 2, (uint64_t[]){ 1, POSITIONS }, 1, &positions,
		     "embeddings.position_ids");
	add_norm(plan, "embeddings.LayerNorm", h);
	add_flat(plan, "embeddings.position_embeddings", "weight", POSITIONS, h,
		 EMBEDDING_SHIFT, 0);
	add_flat(plan, "embeddings.token_type_embeddings", "weight", TOKEN_TYPES, h,
		 EMBEDDING_SHIFT, 0);
	add_flat(plan, "embeddings.word_embeddings", "weight", m->vocab, h, EMBEDDING_SHIFT, 0);
}

static int write_weights(const struct model *m, vbrun_gen_progress progress, void *arg,
			 struct vgpu_error *err)
{
	struct gen_plan plan = { .seed = m->p.seed };
	char *path = join(m->p.folder, "model.safetensors" BESIDE, err);
	uint32_t layer;
	int rc;

	if (!path)
		return -ENOMEM;
	add_embeddings(&plan, m);
	for (layer = 0; layer < m->p.layers; layer++)
		add_layer(&plan, m, layer);
	add_linear(&plan, "pooler.dense", m->p.hidden, m->p.hidden);
	rc = gen_plan_write(&plan, path, progress, arg, err);
	free(path);
	return rc;
}

/* The weights last: with them it is a model. */
static const char *const files[] = { "vocab.txt", "config.json", "model.safetensors" };
#define FILES (sizeof(files) / sizeof(files[0]))

/* Each file from beside its place to it. */
static int place_files(const char *folder, struct vgpu_error *err)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	for (size_t i = 0; i < FILES; i++) {
		snprintf(from, sizeof(from), "%s/%s" BESIDE, folder, files[i]);
		snprintf(to, sizeof(to), "%s/%s", folder, files[i]);
		if (rename(from, to))
			return vbrun_fail(err, -errno, "%.160s: %s", to, strerror(errno));
	}
	return 0;
}

static void discard_files(const char *folder, bool made)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s" BESIDE, folder, files[i]);
		unlink(path);
	}
	if (made)
		rmdir(folder);
}

static int write_files(struct model *m, vbrun_gen_progress progress, void *arg,
		       struct vgpu_error *err)
{
	/* The vocabulary first: its length is in the other two. */
	int rc = write_text(m, "vocab.txt" BESIDE, true, err);

	if (!rc)
		rc = write_text(m, "config.json" BESIDE, false, err);
	if (!rc)
		rc = write_weights(m, progress, arg, err);
	return rc ? rc : place_files(m->p.folder, err);
}

static bool is_there(const char *folder)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s", folder, files[FILES - 1]);
	return !access(path, F_OK);
}

/*
 * Others that write there wait. Return: what to close, -1 where there are no locks; or
 * -EINTR: a signal came meanwhile.
 */
static int folder_lock(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || !flock(fd, LOCK_EX) || errno != EINTR)
		return fd;
	close(fd);
	return -EINTR;
}

int vbrun_gen_model(const struct vbrun_gen_model_params *p, vbrun_gen_progress progress,
		    void *arg, struct vgpu_error *err)
{
	struct model m = { .p = *p };
	int rc, lock;
	bool made;

	rc = check_params(&m.p, err);
	if (rc)
		return rc;
	if (strlen(p->folder) + sizeof("/model.safetensors" BESIDE) > PATH_BYTES)
		return vbrun_fail(err, -ENAMETOOLONG, "%.160s: longer than %u bytes", p->folder,
				  PATH_BYTES);
	made = !mkdir(p->folder, 0777);
	if (!made && errno != EEXIST)
		return vbrun_fail(err, -errno, "%.160s: %s", p->folder, strerror(errno));
	lock = folder_lock(p->folder);
	if (lock == -EINTR)
		return vbrun_fail(err, -EINTR, "%.160s: stopped while another one wrote there", p->folder);
	rc = p->keep && is_there(p->folder) ? 0 : write_files(&m, progress, arg, err);
	if (rc)
		discard_files(p->folder, made);
	if (lock >= 0)
		close(lock);
	return rc;
}
