// SPDX-License-Identifier: MIT
/* Source: the GGUF specification, version 3 (ggml, docs/gguf.md); little-endian. */
#include "gguf_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put(struct gguf_image *g, struct gguf_bytes *to, const void *bytes, size_t count)
{
	if (to->count + count > to->room) {
		size_t room = 2 * to->room + count;
		unsigned char *grown = realloc(to->data, room);

		if (!grown) {
			g->failed = true;
			return;
		}
		to->data = grown;
		to->room = room;
	}
	memcpy(to->data + to->count, bytes, count);
	to->count += count;
}

static void put_u32(struct gguf_image *g, struct gguf_bytes *to, uint32_t value)
{
	put(g, to, &value, sizeof(value));
}

static void put_u64(struct gguf_image *g, struct gguf_bytes *to, uint64_t value)
{
	put(g, to, &value, sizeof(value));
}

static void put_text(struct gguf_image *g, struct gguf_bytes *to, const char *text)
{
	put_u64(g, to, strlen(text));
	put(g, to, text, strlen(text));
}

static void put_key(struct gguf_image *g, const char *key, enum vgpu_meta_type type)
{
	put_text(g, &g->entries, key);
	put_u32(g, &g->entries, type);
	g->entry_count++;
}

static void put_list(struct gguf_image *g, const char *key, enum vgpu_meta_type type,
		     uint64_t count)
{
	put_key(g, key, VGPU_META_ARRAY);
	put_u32(g, &g->entries, type);
	put_u64(g, &g->entries, count);
}

void gguf_text(struct gguf_image *g, const char *key, const char *value)
{
	put_key(g, key, VGPU_META_STRING);
	put_text(g, &g->entries, value);
}

void gguf_u32(struct gguf_image *g, const char *key, uint32_t value)
{
	put_key(g, key, VGPU_META_U32);
	put_u32(g, &g->entries, value);
}

void gguf_f32(struct gguf_image *g, const char *key, float value)
{
	put_key(g, key, VGPU_META_F32);
	put(g, &g->entries, &value, sizeof(value));
}

void gguf_flag(struct gguf_image *g, const char *key, bool value)
{
	uint8_t byte = value;

	put_key(g, key, VGPU_META_BOOL);
	put(g, &g->entries, &byte, sizeof(byte));
}

void gguf_texts(struct gguf_image *g, const char *key, const char *const *values, uint64_t count)
{
	put_list(g, key, VGPU_META_STRING, count);
	for (uint64_t i = 0; i < count; i++)
		put_text(g, &g->entries, values[i]);
}

void gguf_numbers(struct gguf_image *g, const char *key, enum vgpu_meta_type type,
		  const void *values, uint64_t count)
{
	put_list(g, key, type, count);
	put(g, &g->entries, values, count * sizeof(uint32_t));
}

void gguf_tensor(struct gguf_image *g, const char *name, enum gguf_type type, uint32_t rows,
		 uint32_t cols, uint64_t bytes)
{
	put_text(g, &g->infos, name);
	put_u32(g, &g->infos, rows ? 2 : 1);
	put_u64(g, &g->infos, cols);	/* innermost first */
	if (rows)
		put_u64(g, &g->infos, rows);
	put_u32(g, &g->infos, type);
	put_u64(g, &g->infos, g->data_bytes);
	g->tensor_count++;
	g->data_bytes += bytes + gguf_gap(bytes);
}

int gguf_finish(struct gguf_image *g, unsigned char **out, size_t *count)
{
	static const unsigned char zeros[32];
	struct gguf_bytes all = { 0 };
	bool failed;

	put(g, &all, "GGUF", 4);
	put_u32(g, &all, 3);
	put_u64(g, &all, g->tensor_count);
	put_u64(g, &all, g->entry_count);
	if (!g->failed) {
		put(g, &all, g->entries.count ? g->entries.data : zeros, g->entries.count);
		put(g, &all, g->infos.count ? g->infos.data : zeros, g->infos.count);
		put(g, &all, zeros, gguf_gap(all.count));
	}
	failed = g->failed;
	free(g->entries.data);
	free(g->infos.data);
	memset(g, 0, sizeof(*g));
	*out = all.data;
	*count = all.count;
	if (!failed)
		return 0;
	free(all.data);
	return -ENOMEM;
}
