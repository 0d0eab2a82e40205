// SPDX-License-Identifier: MIT
/*
 * A vocabulary and a text.  What begins with 'G' is a whole GGUF file; else three bytes say what the
 * file has, and the others are its tokens, then the text:
 *
 *	0	bit 0: a token for each byte; 1: texts begin with <s>; 2: with a space; 3: there is an
 *		unknown token; 4: one list is longer than the others; 5, 6: which of them; 7: a flag that
 *		is refused
 *	1	which token is <s>, and which ends a text
 *	2	which is unknown
 *	3 ..	a token: its type, its score, its length, its bytes; a length of 255 ends them
 */
#include "vbrun/spm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utf8proc.h>

#include "vbrun/gguf_image.h"

#define HEAD		3u
#define TOKENS_MAX	600u
#define TEXT_MAX	4096u
#define LAST		255u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * struct vocabulary - lists of a file
 * @texts: each ends with 0
 */
struct vocabulary {
	char *texts[TOKENS_MAX + 1];
	float scores[TOKENS_MAX + 1];
	int32_t types[TOKENS_MAX + 1];
	uint32_t count;
};

static void must(int good)
{
	if (!good)
		abort();
}

static char *copy(const void *from, size_t bytes)
{
	char *text = malloc(bytes + 1);

	must(!!text);
	memcpy(text, from, bytes);
	text[bytes] = 0;
	return text;
}

static void add(struct vocabulary *v, char *text, float score, int32_t type)
{
	v->texts[v->count] = text;
	v->scores[v->count] = score;
	v->types[v->count++] = type;
}

static void add_bytes(struct vocabulary *v)
{
	char name[16];

	for (uint32_t i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "<0x%02X>", i);
		add(v, copy(name, 6), 0, 6);
	}
}

/* Return: where the text begins. */
static const uint8_t *take_tokens(struct vocabulary *v, const uint8_t *at, const uint8_t *end)
{
	while (end - at >= 3 && at[2] != LAST && v->count < TOKENS_MAX) {
		size_t bytes = at[2] < end - at - 3 ? at[2] : (size_t)(end - at - 3);
		/* Few scores, so that there are ties; all types, and two that there are not. */
		float score = at[1] == LAST ? (float)(0.0 / 0.0) : (float)(at[1] % 8);

		add(v, copy(at + 3, bytes), score, at[0] % 8);
		at += 3 + bytes;
	}
	return end - at < 3 ? end : at + 3;
}

static void write_file(struct vocabulary *v, const uint8_t *head, int fd)
{
	bool longer = head[0] & 0x10;
	uint32_t which = head[0] >> 5 & 3;
	struct gguf_image g = { 0 };
	unsigned char *bytes;
	size_t count;

	gguf_text(&g, "tokenizer.ggml.model", "llama");
	gguf_texts(&g, "tokenizer.ggml.tokens", (const char *const *)v->texts,
		   v->count + (longer && which == 0));
	gguf_numbers(&g, "tokenizer.ggml.scores", VGPU_META_F32, v->scores,
		     v->count + (longer && which == 1));
	gguf_numbers(&g, "tokenizer.ggml.token_type", VGPU_META_I32, v->types,
		     v->count + (longer && which == 2));
	gguf_u32(&g, "tokenizer.ggml.bos_token_id", head[1]);
	gguf_u32(&g, "tokenizer.ggml.eos_token_id", head[1] / 2);
	if (head[0] & 8)
		gguf_u32(&g, "tokenizer.ggml.unknown_token_id", head[2]);
	gguf_flag(&g, "tokenizer.ggml.add_bos_token", head[0] & 2);
	gguf_flag(&g, "tokenizer.ggml.add_space_prefix", head[0] & 4);
	if (head[0] & 0x80)
		gguf_flag(&g, "tokenizer.ggml.remove_extra_whitespaces", true);
	must(!gguf_finish(&g, &bytes, &count));
	must(write(fd, bytes, count) == (ssize_t)count);
	free(bytes);
}

/* U+2581 as a space: a vocabulary without it has its bytes. */
static void put_spaces(char *text)
{
	char *out = text;

	while (*text) {
		if (strncmp(text, "\xe2\x96\x81", 3)) {
			*out++ = *text++;
			continue;
		}
		*out++ = ' ';
		text += 3;
	}
	*out = 0;
}

static bool is_text(const char *text)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
	utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text), used;
	utf8proc_int32_t point;

	for (; left; at += used, left -= used) {
		used = utf8proc_iterate(at, left, &point);
		if (used < 0)
			return false;
	}
	return true;
}

/* The bytes of some tokens, each of which has room of its own. */
static char *decode(const struct spm *spm, const int32_t *ids, int64_t count)
{
	size_t bytes = 0;
	char *all = malloc((size_t)count * SPM_PIECE_BYTES + 1);

	must(!!all);
	for (int64_t i = 0; i < count; i++) {
		char *piece = malloc(SPM_PIECE_BYTES);
		size_t n;

		must(piece && ids[i] >= 0 && (uint32_t)ids[i] < spm_count(spm));
		n = spm_decode(spm, ids[i], piece);
		must(n <= SPM_PIECE_BYTES);
		memcpy(all + bytes, piece, n);
		bytes += n;
		free(piece);
	}
	all[bytes] = 0;
	return all;
}

/**
 * check_text() - any ids; those of a text, too, where no byte of it is without a token
 * @whole: each byte has a token
 * @first: tokens before the text
 * @space: there is one before it
 */
static void check_text(const struct spm *spm, const char *from, size_t bytes, bool whole, int first,
		       bool space)
{
	char *text = copy(from, bytes), *back, *want;
	int32_t *ids = NULL;
	int64_t n = spm_encode(spm, text, &ids);

	must(n >= first);
	back = decode(spm, ids + first, n - first);
	if (whole && is_text(text)) {
		want = malloc(strlen(text) + 2);
		must(!!want);
		sprintf(want, "%s%s", space && *text ? " " : "", text);
		put_spaces(want);
		put_spaces(back);
		must(!strcmp(want, back));
		free(want);
	}
	free(back);
	free(ids);
	free(text);
}

static struct vgpu_checkpoint *open_file(int fd)
{
	struct vgpu_checkpoint *ck = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return vgpu_checkpoint_open(path, &ck, NULL) ? NULL : ck;
}

static void fuzz_lists(const uint8_t *data, size_t size, int fd)
{
	struct vgpu_checkpoint *ck;
	struct vocabulary v = { .count = 0 };
	struct spm *spm = NULL;
	const uint8_t *text;
	struct vgpu_error err;

	if (data[0] & 1)
		add_bytes(&v);
	text = take_tokens(&v, data + HEAD, data + size);
	v.texts[v.count] = "more";
	v.types[v.count] = 1;
	write_file(&v, data, fd);
	ck = open_file(fd);
	if (ck && !spm_open(ck, &spm, &err)) {
		size_t bytes = (size_t)(data + size - text);

		check_text(spm, (const char *)text, bytes < TEXT_MAX ? bytes : TEXT_MAX, data[0] & 1,
			   data[0] >> 1 & 1, data[0] & 4);
		spm_close(spm);
	}
	vgpu_checkpoint_close(ck);
	for (uint32_t i = 0; i < v.count; i++)
		free(v.texts[i]);
}

/* Its tokens are texts, as they are for who reads the file. */
static void fuzz_file(const uint8_t *data, size_t size, int fd)
{
	struct vgpu_checkpoint *ck;
	struct spm *spm = NULL;
	struct vgpu_error err;

	must(write(fd, data, size) == (ssize_t)size);
	ck = open_file(fd);
	if (ck && !spm_open(ck, &spm, &err)) {
		for (uint32_t i = 0; i < spm_count(spm) && i < 32; i++) {
			char text[SPM_PIECE_BYTES];

			check_text(spm, text, spm_decode(spm, (int32_t)i, text), false, 0, false);
		}
		check_text(spm, (const char *)data, size < TEXT_MAX ? size : TEXT_MAX, false, 0, false);
		spm_close(spm);
	}
	vgpu_checkpoint_close(ck);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	if (size < HEAD)
		return 0;
	fd = memfd_create("vocabulary", MFD_CLOEXEC);
	must(fd >= 0);
	if (data[0] == 'G')
		fuzz_file(data, size, fd);
	else
		fuzz_lists(data, size, fd);
	close(fd);
	return 0;
}
