// SPDX-License-Identifier: MIT
#include "vbrun/gen.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vbrun/wordpiece.h"

struct folder {
	char path[64];
	char file[128];
};

static int make_folder(void **state)
{
	struct folder *d = calloc(1, sizeof(*d));

	if (!d)
		return -1;
	strcpy(d->path, "/tmp/gen_test.XXXXXX");
	*state = d;
	return mkdtemp(d->path) ? 0 : -1;
}

static const char *in_folder(struct folder *d, const char *name)
{
	snprintf(d->file, sizeof(d->file), "%s/%s", d->path, name);
	return d->file;
}

/* Fails when anything was left behind that the test did not expect and remove. */
static int remove_folder(void **state)
{
	static const char *const names[] = { "a", "b", "config.json", "vocab.txt",
					     "model.safetensors" };
	struct folder *d = *state;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(d, names[i]));
	rc = rmdir(d->path);
	free(d);
	return rc;
}

static unsigned char *read_all(const char *path, size_t *bytes)
{
	FILE *in = fopen(path, "re");
	unsigned char *all;
	struct stat st;

	assert_non_null(in);
	assert_int_equal(fstat(fileno(in), &st), 0);
	*bytes = (size_t)st.st_size;
	all = malloc(*bytes);
	assert_non_null(all);
	assert_int_equal(fread(all, 1, *bytes, in), *bytes);
	fclose(in);
	return all;
}

static uint64_t digest(const char *path)
{
	uint64_t hash = 14695981039346656037u;
	size_t bytes, i;
	unsigned char *all = read_all(path, &bytes);

	for (i = 0; i < bytes; i++)
		hash = (hash ^ all[i]) * 1099511628211u;
	free(all);
	return hash;
}

static struct vbrun_gen_params small(struct folder *d, enum vbrun_gen_format format)
{
	return (struct vbrun_gen_params){
		.path = in_folder(d, "a"), .seed = 7, .format = format, .layers = 2,
		.experts = 4, .hidden = 128, .ffn = 96,
	};
}

/* The digests were recorded once; they must be the same on every machine. */
static void gen_bytes_depend_on_parameters_alone(void **state)
{
	static const uint64_t want[] = {
		[VBRUN_GEN_MXFP4] = 0x2b7ab8e9144ac68cu,
		[VBRUN_GEN_BF16] = 0x783e5d58d57f302fu,
		[VBRUN_GEN_F32] = 0x63ff4a424d3c46b3u,
	};
	struct folder *d = *state;
	int format;

	for (format = VBRUN_GEN_MXFP4; format <= VBRUN_GEN_F32; format++) {
		struct vbrun_gen_params p = small(d, format);
		uint64_t got;

		assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
		got = digest(p.path);
		if (got != want[format])
			fail_msg("format %d: digest 0x%llx", format, (unsigned long long)got);
		p.seed = 8;
		assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
		assert_true(digest(p.path) != got);
	}
}

static void assert_shape(const struct vgpu_checkpoint *ck, const char *name,
			 enum vgpu_dtype dtype, uint32_t rank, const uint64_t *shape)
{
	const struct vgpu_tensor *t = vgpu_checkpoint_find(ck, name);

	if (!t)
		fail_msg("no tensor '%s'", name);
	assert_int_equal(t->dtype, dtype);
	assert_int_equal(t->rank, rank);
	assert_memory_equal(t->shape, shape, rank * sizeof(*shape));
}

#define SHAPE(...) (uint64_t[]){ __VA_ARGS__ }

static void gen_file_is_a_checkpoint_in_the_shape_of_gpt_oss(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = small(d, VBRUN_GEN_MXFP4);
	struct vgpu_checkpoint *ck;
	struct vgpu_string seed;

	assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
	assert_int_equal(vgpu_checkpoint_open(p.path, &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_tensor_count(ck), 2 + 2 * 11);
	assert_shape(ck, "model.layers.1.mlp.experts.gate_up_proj_blocks", VGPU_DTYPE_U8, 4,
		     SHAPE(4, 192, 4, 16));
	assert_shape(ck, "model.layers.1.mlp.experts.gate_up_proj_scales", VGPU_DTYPE_U8, 3,
		     SHAPE(4, 192, 4));
	assert_shape(ck, "model.layers.0.mlp.experts.down_proj_blocks", VGPU_DTYPE_U8, 4,
		     SHAPE(4, 128, 3, 16));
	assert_shape(ck, "model.layers.0.self_attn.q_proj.weight", VGPU_DTYPE_BF16, 2,
		     SHAPE(128, 128));
	assert_shape(ck, "model.layers.0.self_attn.k_proj.weight", VGPU_DTYPE_BF16, 2,
		     SHAPE(64, 128));
	assert_shape(ck, "model.layers.0.mlp.router.weight", VGPU_DTYPE_BF16, 2,
		     SHAPE(4, 128));
	assert_shape(ck, "model.norm.weight", VGPU_DTYPE_BF16, 1, SHAPE(128));
	assert_int_equal(vgpu_checkpoint_meta_string(ck, "seed", &seed), 0);
	assert_string_equal(seed.text, "7");
	vgpu_checkpoint_close(ck);

	p.format = VBRUN_GEN_F32;
	assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
	assert_int_equal(vgpu_checkpoint_open(p.path, &ck, NULL), 0);
	assert_shape(ck, "model.layers.1.mlp.experts.gate_up_proj", VGPU_DTYPE_F32, 3,
		     SHAPE(4, 192, 128));
	vgpu_checkpoint_close(ck);
}

static void gen_size_is_near_what_was_asked(void **state)
{
	static const uint64_t sizes[] = { 1 << 20, 3 << 20, 10 << 20, 50 << 20 };
	struct folder *d = *state;
	int format;
	size_t i;

	for (format = VBRUN_GEN_MXFP4; format <= VBRUN_GEN_F32; format++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct vbrun_gen_params p = {
				.path = in_folder(d, "a"), .bytes = sizes[i],
				.format = format,
			};
			struct stat st;

			assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
			assert_int_equal(stat(p.path, &st), 0);
			/* Small files are coarse: a step of ffn is 32 rows. */
			assert_in_range(st.st_size, sizes[i] * 3 / 4, sizes[i] * 5 / 4);
			if (sizes[i] >= 10 << 20)
				assert_in_range(st.st_size, sizes[i] * 19 / 20,
						sizes[i] * 21 / 20);
		}
}

/* Scale e puts the block's largest value at 4 to 8 times 2^e: code 4 (6) or 3 (4). */
static void gen_scales_fit_their_blocks(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = small(d, VBRUN_GEN_MXFP4);
	const struct vgpu_tensor *blocks, *scales;
	struct vgpu_checkpoint *ck;
	unsigned char *all;
	unsigned int negative = 0, lowest = 255, highest = 0;
	size_t bytes, i, j;

	assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
	assert_int_equal(vgpu_checkpoint_open(p.path, &ck, NULL), 0);
	all = read_all(p.path, &bytes);
	blocks = vgpu_checkpoint_find(ck, "model.layers.0.mlp.experts.gate_up_proj_blocks");
	scales = vgpu_checkpoint_find(ck, "model.layers.0.mlp.experts.gate_up_proj_scales");
	for (i = 0; i < scales->bytes; i++) {
		const unsigned char *codes = all + blocks->offset + i * 16;
		unsigned int e = all[scales->offset + i], max = 0;

		for (j = 0; j < 32; j++) {
			unsigned int code = codes[j / 2] >> j % 2 * 4 & 15;

			negative += code >> 3;
			max = (code & 7) > max ? code & 7 : max;
		}
		assert_in_range(max, 6, 7);
		lowest = e < lowest ? e : lowest;
		highest = e > highest ? e : highest;
	}
	assert_in_range(negative, scales->bytes * 32 * 49 / 100, scales->bytes * 32 * 51 / 100);
	/* The power law spreads amplitudes over several powers of two. */
	assert_in_range(highest - lowest, 4, 12);
	assert_in_range(highest, 116, 126);
	free(all);
	vgpu_checkpoint_close(ck);
}

/* The energies of rows, sorted, fall: the upper tenth holds most. */
static void gen_rows_decay(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = small(d, VBRUN_GEN_F32);
	const struct vgpu_tensor *t;
	struct vgpu_checkpoint *ck;
	double total = 0, largest = 0;
	unsigned char *all;
	size_t bytes, r, i;

	assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
	assert_int_equal(vgpu_checkpoint_open(p.path, &ck, NULL), 0);
	all = read_all(p.path, &bytes);
	t = vgpu_checkpoint_find(ck, "model.layers.0.self_attn.q_proj.weight");
	for (r = 0; r < t->shape[0]; r++) {
		double energy = 0;

		for (i = 0; i < t->shape[1]; i++) {
			float x;

			memcpy(&x, all + t->offset + (r * t->shape[1] + i) * 4, 4);
			assert_true(x == x && x < 10 && x > -10);
			energy += (double)x * (double)x;
		}
		assert_true(energy > 0);
		total += energy;
		largest = energy > largest ? energy : largest;
	}
	assert_true(largest > 5 * total / (double)t->shape[0]);
	free(all);
	vgpu_checkpoint_close(ck);
}

static int stop_halfway(void *arg, uint64_t done, uint64_t total)
{
	++*(unsigned int *)arg;
	return done > total / 2 ? -EINTR : 0;
}

static void gen_interrupted_leaves_nothing_and_keeps_the_old(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = small(d, VBRUN_GEN_MXFP4);
	struct vgpu_error err;
	unsigned int calls = 0;
	uint64_t old;
	DIR *dir;
	int entries = 0;

	assert_int_equal(vbrun_gen(&p, NULL, NULL, NULL), 0);
	old = digest(p.path);
	p = (struct vbrun_gen_params){ .path = p.path, .bytes = 20 << 20 };
	assert_int_equal(vbrun_gen(&p, stop_halfway, &calls, &err), -EINTR);
	assert_in_range(calls, 5, 15);
	assert_non_null(strstr(err.text, ": stopped after "));
	assert_true(digest(p.path) == old);

	dir = opendir(d->path);
	assert_non_null(dir);
	while (readdir(dir))
		entries++;
	closedir(dir);
	assert_int_equal(entries, 3);
}

static void assert_refused(struct vbrun_gen_params p, int code, const char *text)
{
	struct vgpu_error err = { 0 };

	assert_int_equal(vbrun_gen(&p, NULL, NULL, &err), code);
	assert_string_equal(err.text, text);
	assert_int_not_equal(access(p.path, F_OK), 0);
}

static void gen_bad_parameters_are_named(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = small(d, VBRUN_GEN_MXFP4);

	p.hidden = 100;
	assert_refused(p, -EINVAL, "hidden 100 is not a multiple of 64 up to 32768");
	p = small(d, VBRUN_GEN_MXFP4);
	p.ffn = 0;
	assert_refused(p, -EINVAL, "ffn is 0, which needs a size to choose it by");
	p = small(d, VBRUN_GEN_MXFP4);
	p.layers = 1025;
	assert_refused(p, -EINVAL, "layers 1025 is not a multiple of 1 up to 1024");
	p = small(d, VBRUN_GEN_MXFP4);
	p.bytes = 1000;
	assert_refused(p, -EINVAL, "bytes 1000 is not between 1048576 and 70368744177664");
	p = small(d, VBRUN_GEN_MXFP4);
	p.path = "/nonexistent/x";
	assert_refused(p, -ENOENT, "/nonexistent/x: No such file or directory");
}

/* More than any disk of a test machine holds; the numbers come before any writing. */
static void gen_without_space_is_refused_at_once(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_params p = {
		.path = in_folder(d, "a"), .bytes = 1ull << 46,
	};
	struct vgpu_error err = { 0 };
	unsigned int calls = 0;
	int rc = vbrun_gen(&p, stop_halfway, &calls, &err);

	if (rc != -ENOSPC && rc != -EFBIG)
		fail_msg("%d: %s", rc, err.text);
	assert_int_equal(calls, 0);
	if (rc == -ENOSPC) {
		assert_non_null(strstr(err.text, ": needs "));
		assert_non_null(strstr(err.text, ", the filesystem has "));
	}
}

static void gen_model_has_the_names_of_minilm(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_model_params p = {
		.folder = d->path, .seed = 1, .layers = 2, .hidden = 64, .heads = 4,
		.ffn = 128,
	};
	int32_t ids[64];
	struct vgpu_checkpoint *ck;
	struct wordpiece *wp;
	int count, i;

	assert_int_equal(vbrun_gen_model(&p, NULL, NULL, NULL), 0);
	assert_int_equal(vgpu_checkpoint_open(d->path, &ck, NULL), 0);
	assert_int_equal(vgpu_checkpoint_tensor_count(ck), 6 + 2 + 2 * 16);
	assert_int_equal(wordpiece_open(in_folder(d, "vocab.txt"), &wp, NULL), 0);
	assert_shape(ck, "embeddings.word_embeddings.weight", VGPU_DTYPE_F32, 2,
		     SHAPE(wordpiece_count(wp), 64));
	assert_shape(ck, "embeddings.position_ids", VGPU_DTYPE_I64, 2, SHAPE(1, 512));
	assert_shape(ck, "encoder.layer.1.intermediate.dense.weight", VGPU_DTYPE_F32, 2,
		     SHAPE(128, 64));
	assert_shape(ck, "encoder.layer.1.output.dense.bias", VGPU_DTYPE_F32, 1, SHAPE(64));
	assert_shape(ck, "pooler.dense.weight", VGPU_DTYPE_F32, 2, SHAPE(64, 64));

	/* BERT's own ids for [CLS], [SEP] and [UNK]; no ASCII text needs the last. */
	count = wordpiece_encode(wp, "Zebra's 42 quizzes (vexing)!", ids, 64);
	assert_int_equal(ids[0], 101);
	assert_int_equal(ids[count - 1], 102);
	for (i = 1; i < count - 1; i++)
		assert_int_not_equal(ids[i], 100);
	wordpiece_close(wp);
	vgpu_checkpoint_close(ck);
}

static void gen_model_bad_parameters_are_named(void **state)
{
	struct folder *d = *state;
	struct vbrun_gen_model_params p = { .folder = d->path, .hidden = 50, .heads = 7 };
	struct vgpu_error err;

	assert_int_equal(vbrun_gen_model(&p, NULL, NULL, &err), -EINVAL);
	assert_string_equal(err.text,
			    "hidden 50 is not a multiple of heads 7 between 32 and 4096");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(gen_bytes_depend_on_parameters_alone),
		IN_FOLDER(gen_file_is_a_checkpoint_in_the_shape_of_gpt_oss),
		IN_FOLDER(gen_size_is_near_what_was_asked),
		IN_FOLDER(gen_scales_fit_their_blocks),
		IN_FOLDER(gen_rows_decay),
		IN_FOLDER(gen_interrupted_leaves_nothing_and_keeps_the_old),
		IN_FOLDER(gen_bad_parameters_are_named),
		IN_FOLDER(gen_without_space_is_refused_at_once),
		IN_FOLDER(gen_model_has_the_names_of_minilm),
		IN_FOLDER(gen_model_bad_parameters_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
