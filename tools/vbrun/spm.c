// SPDX-License-Identifier: MIT
/*
 * A text becomes a list of symbols: what the user of the vocabulary defined, and single
 * characters. A heap holds the pairs of neighbours that are a piece together; the best is
 * merged, which makes new pairs, until there are none. Pairs that a merge made void stay in
 * the heap and are recognised by their length.
 */
#include "spm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/fnv.h"
#include "fail.h"

/* U+2581, which stands for a space, and U+FFFD, for a byte that is no text. */
#define SPACE "\xe2\x96\x81"
#define REPLACEMENT "\xef\xbf\xbd"
#define MARK_BYTES 3u
#define TEXT_MAX ((size_t)1 << 30)
#define NONE UINT32_MAX

/* tokenizer.ggml.token_type, the numbers of SentencePiece's ModelProto. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/**
 * struct piece - one token
 * @text: its bytes, a space as U+2581
 * @bytes: of @text
 * @score: of two merges the one with the higher comes first
 * @type: TYPE_*
 */
struct piece {
	const char *text;
	uint32_t bytes;
	float score;
	int32_t type;
};

/**
 * struct spm - a vocabulary
 * @pieces: tokens by id
 * @escaped: texts of pieces that the file has with spaces, behind each other
 * @slots: open addressing over normal and user's pieces: id + 1, or 0 for empty
 * @slot_mask: slots - 1
 * @user_bytes: of the longest user's piece
 * @user_first: bytes that a user's piece begins with
 * @byte: id for each byte, when @has_bytes
 * @bos, @eos, @eot, @unknown: -1: there is none
 * @add_bos, @add_space: before a text
 */
struct spm {
	struct piece *pieces;
	uint32_t count;
	char *escaped;
	uint32_t *slots, slot_mask;
	uint32_t user_bytes;
	bool user_first[256];
	int32_t byte[256];
	bool has_bytes;
	int32_t bos, eos, eot, unknown;
	bool add_bos, add_space;
};

/* --- finding a piece ---------------------------------------------------- */

/* The slot that holds a piece, or the empty one where it would go. */
static uint32_t *find_slot(const struct spm *spm, uint32_t hash, const char *text, size_t bytes)
{
	uint32_t at = (hash ^ hash >> 15) & spm->slot_mask;

	while (spm->slots[at]) {
		const struct piece *piece = &spm->pieces[spm->slots[at] - 1];

		if (piece->bytes == bytes && !memcmp(piece->text, text, bytes))
			break;
		at = (at + 1) & spm->slot_mask;
	}
	return &spm->slots[at];
}

/* Id of a piece, or -1. */
static int32_t find_piece(const struct spm *spm, const char *text, size_t bytes)
{
	return (int32_t)*find_slot(spm, fnv32(FNV32_START, text, bytes), text, bytes) - 1;
}

/* Bytes of the longest user's piece that @text begins with, or 0. */
static uint32_t find_user(const struct spm *spm, const char *text, size_t bytes)
{
	uint32_t most = bytes < spm->user_bytes ? (uint32_t)bytes : spm->user_bytes, best = 0;
	uint32_t hash = FNV32_START;

	if (!spm->user_first[(unsigned char)*text])
		return 0;
	for (uint32_t n = 1; n <= most; n++) {
		uint32_t slot;

		hash = fnv32(hash, &text[n - 1], 1);
		slot = *find_slot(spm, hash, text, n);
		if (slot && spm->pieces[slot - 1].type == TYPE_USER)
			best = n;
	}
	return best;
}

/* --- the vocabulary ----------------------------------------------------- */

/* An entry that must be a list of @count values of a type; 0: of any number. */
static int take_array(const struct vgpu_checkpoint *ck, const char *key, enum vgpu_meta_type type,
		      uint64_t count, struct vgpu_meta_array *out, struct vgpu_error *err)
{
	int rc = vgpu_checkpoint_meta_array(ck, key, out);

	if (rc == -ENOENT)
		return vbrun_fail(err, -EINVAL, "%s is missing", key);
	if (rc || out->type != type)
		return vbrun_fail(err, -EINVAL, "%s is of another type", key);
	if (count && out->count != count)
		return vbrun_fail(err, -EINVAL, "%s has %llu entries, the vocabulary %llu", key,
				  (unsigned long long)out->count, (unsigned long long)count);
	return 0;
}

static int take_flag(const struct vgpu_checkpoint *ck, const char *key, bool usual, bool *out,
		     struct vgpu_error *err)
{
	int rc = vgpu_checkpoint_meta_bool(ck, key, out);

	if (rc == -ENOENT)
		*out = usual;
	else if (rc)
		return vbrun_fail(err, -EINVAL, "%s is no truth value", key);
	return 0;
}

/* An id of a token, or -1 where the file has none. */
static int take_id(const struct spm *spm, const struct vgpu_checkpoint *ck, const char *key,
		   int32_t *out, struct vgpu_error *err)
{
	uint32_t id;
	int rc = vgpu_checkpoint_meta_u32(ck, key, &id);

	*out = -1;
	if (rc == -ENOENT)
		return 0;
	if (rc || id >= spm->count)
		return vbrun_fail(err, -EINVAL, "%s is no token of the %u that there are", key,
				  spm->count);
	*out = (int32_t)id;
	return 0;
}

/* What would make other tokens of a text than this does. */
static int check_kind(const struct vgpu_checkpoint *ck, struct vgpu_error *err)
{
	struct vgpu_string model;
	bool flag;
	int rc = vgpu_checkpoint_meta_string(ck, "tokenizer.ggml.model", &model);

	if (rc)
		return vbrun_fail(err, -EINVAL, "tokenizer.ggml.model %s",
				  rc == -ENOENT ? "is missing" : "is no text");
	if (strcmp(model.text, "llama"))
		return vbrun_fail(err, -EOPNOTSUPP, "tokenizer '%.40s' is not known; known: llama",
				  model.text);
	if (vgpu_checkpoint_meta_find(ck, "tokenizer.ggml.precompiled_charsmap"))
		return vbrun_fail(err, -EOPNOTSUPP,
				  "tokenizer.ggml.precompiled_charsmap: normalisers are not known");
	rc = take_flag(ck, "tokenizer.ggml.remove_extra_whitespaces", false, &flag, err);
	if (!rc && flag)
		rc = vbrun_fail(err, -EOPNOTSUPP,
				"tokenizer.ggml.remove_extra_whitespaces is not known");
	return rc;
}

static size_t count_spaces(const char *text, size_t bytes)
{
	size_t n = 0;

	while (bytes--)
		n += *text++ == ' ';
	return n;
}

/* @text with each space as U+2581. Return: the end of what was written. */
static char *escape(char *out, const char *text, size_t bytes)
{
	for (; bytes; bytes--, text++) {
		if (*text != ' ') {
			*out++ = *text;
			continue;
		}
		memcpy(out, SPACE, MARK_BYTES);
		out += MARK_BYTES;
	}
	return out;
}

static int check_piece(uint32_t id, const struct vgpu_string *text, int32_t type,
		       struct vgpu_error *err)
{
	if (type < TYPE_NORMAL || type > TYPE_BYTE)
		return vbrun_fail(err, -EINVAL, "token %u is of type %d, known are 1 to 6", id, type);
	if (!text->bytes && type != TYPE_UNUSED)
		return vbrun_fail(err, -EINVAL, "token %u is empty", id);
	if (text->bytes > SPM_PIECE_BYTES / MARK_BYTES)
		return vbrun_fail(err, -EINVAL, "token %u has %zu bytes, the limit is %u", id,
				  text->bytes, SPM_PIECE_BYTES / MARK_BYTES);
	return 0;
}

/* The file writes user's pieces with spaces, all others with U+2581. */
static int take_pieces(struct spm *spm, const struct vgpu_string *texts, const float *scores,
		       const int32_t *types, struct vgpu_error *err)
{
	size_t room = 0;
	char *at;
	int rc;

	for (uint32_t i = 0; i < spm->count; i++) {
		rc = check_piece(i, &texts[i], types[i], err);
		if (rc)
			return rc;
		if (count_spaces(texts[i].text, texts[i].bytes))
			room += MARK_BYTES * texts[i].bytes;
	}
	at = spm->escaped = malloc(room + 1);
	if (!at)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < spm->count; i++) {
		struct piece *piece = &spm->pieces[i];
		char *end;

		*piece = (struct piece){ texts[i].text, (uint32_t)texts[i].bytes, scores[i],
					 types[i] };
		if (!count_spaces(piece->text, piece->bytes))
			continue;
		end = escape(at, piece->text, piece->bytes);
		piece->text = at;
		piece->bytes = (uint32_t)(end - at);
		at = end;
	}
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a token is named after, "<0x0A>", or -1. */
static int named_byte(const struct piece *piece)
{
	const char *name = piece->text;

	if (piece->bytes != 6 || memcmp(name, "<0x", 3) || name[5] != '>' ||
	    hex_digit(name[3]) < 0 || hex_digit(name[4]) < 0)
		return -1;
	return hex_digit(name[3]) * 16 + hex_digit(name[4]);
}

static int take_byte(struct spm *spm, uint32_t id, uint32_t *found, struct vgpu_error *err)
{
	int byte = named_byte(&spm->pieces[id]);

	if (byte < 0)
		return vbrun_fail(err, -EINVAL, "token %u is of type byte and not named <0x00> .. <0xFF>",
				  id);
	*found += spm->byte[byte] < 0;
	spm->byte[byte] = (int32_t)id;
	return 0;
}

/* Normal and user's pieces into the table. */
static int enter_piece(struct spm *spm, uint32_t id, struct vgpu_error *err)
{
	const struct piece *piece = &spm->pieces[id];
	uint32_t *slot = find_slot(spm, fnv32(FNV32_START, piece->text, piece->bytes),
				   piece->text, piece->bytes);

	if (*slot)
		return vbrun_fail(err, -EINVAL, "token %u is the same text as token %u", id, *slot - 1);
	*slot = id + 1;
	if (piece->type != TYPE_USER)
		return 0;
	spm->user_first[(unsigned char)*piece->text] = true;
	if (piece->bytes > spm->user_bytes)
		spm->user_bytes = piece->bytes;
	return 0;
}

static int index_pieces(struct spm *spm, struct vgpu_error *err)
{
	uint32_t slots = 16, bytes = 0;
	int rc = 0;

	while (slots < 2 * spm->count)
		slots *= 2;
	spm->slots = calloc(slots, sizeof(*spm->slots));
	if (!spm->slots)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	spm->slot_mask = slots - 1;
	memset(spm->byte, -1, sizeof(spm->byte));
	for (uint32_t i = 0; i < spm->count && !rc; i++) {
		if (spm->pieces[i].type == TYPE_BYTE)
			rc = take_byte(spm, i, &bytes, err);
		else if (spm->pieces[i].type == TYPE_NORMAL || spm->pieces[i].type == TYPE_USER)
			rc = enter_piece(spm, i, err);
	}
	if (!rc && bytes && bytes < 256)
		rc = vbrun_fail(err, -EINVAL, "the vocabulary has tokens for %u of 256 bytes", bytes);
	spm->has_bytes = bytes;
	return rc;
}

static int take_vocabulary(struct spm *spm, const struct vgpu_checkpoint *ck,
			   struct vgpu_error *err)
{
	struct vgpu_meta_array texts, scores, types;
	int rc = take_array(ck, "tokenizer.ggml.tokens", VGPU_META_STRING, 0, &texts, err);

	if (!rc && (!texts.count || texts.count > INT32_MAX / 2))
		rc = vbrun_fail(err, -EINVAL, "tokenizer.ggml.tokens has %llu entries",
				(unsigned long long)texts.count);
	if (!rc)
		rc = take_array(ck, "tokenizer.ggml.scores", VGPU_META_F32, texts.count, &scores, err);
	if (!rc)
		rc = take_array(ck, "tokenizer.ggml.token_type", VGPU_META_I32, texts.count, &types,
				err);
	if (rc)
		return rc;
	spm->count = (uint32_t)texts.count;
	spm->pieces = calloc(spm->count, sizeof(*spm->pieces));
	if (!spm->pieces)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	rc = take_pieces(spm, texts.data, scores.data, types.data, err);
	return rc ? rc : index_pieces(spm, err);
}

static int take_options(struct spm *spm, const struct vgpu_checkpoint *ck, struct vgpu_error *err)
{
	int rc = take_id(spm, ck, "tokenizer.ggml.bos_token_id", &spm->bos, err);

	if (!rc)
		rc = take_id(spm, ck, "tokenizer.ggml.eos_token_id", &spm->eos, err);
	if (!rc)
		rc = take_id(spm, ck, "tokenizer.ggml.eot_token_id", &spm->eot, err);
	if (!rc)
		rc = take_id(spm, ck, "tokenizer.ggml.unknown_token_id", &spm->unknown, err);
	if (!rc)
		rc = take_flag(ck, "tokenizer.ggml.add_bos_token", true, &spm->add_bos, err);
	if (!rc)
		rc = take_flag(ck, "tokenizer.ggml.add_space_prefix", true, &spm->add_space, err);
	if (!rc && spm->add_bos && spm->bos < 0)
		rc = vbrun_fail(err, -EINVAL, "tokenizer.ggml.bos_token_id is missing, and each text "
				"begins with it");
	if (!rc && !spm->has_bytes && spm->unknown < 0)
		rc = vbrun_fail(err, -EINVAL, "the vocabulary has neither tokens for bytes nor an "
				"unknown one");
	return rc;
}

int spm_open(const struct vgpu_checkpoint *ck, struct spm **out, struct vgpu_error *err)
{
	struct spm *spm = calloc(1, sizeof(*spm));
	int rc;

	if (!spm)
		return vbrun_fail(err, -ENOMEM, "out of memory");
	rc = check_kind(ck, err);
	if (!rc)
		rc = take_vocabulary(spm, ck, err);
	if (!rc)
		rc = take_options(spm, ck, err);
	if (rc)
		spm_close(spm);
	else
		*out = spm;
	return rc;
}

void spm_close(struct spm *spm)
{
	if (!spm)
		return;
	free(spm->pieces);
	free(spm->escaped);
	free(spm->slots);
	free(spm);
}

uint32_t spm_count(const struct spm *spm)
{
	return spm->count;
}

bool spm_is_end(const struct spm *spm, int32_t id)
{
	return id >= 0 && (id == spm->eos || id == spm->eot);
}

/* --- text to ids -------------------------------------------------------- */

/**
 * struct symbol - a stretch of the text
 * @at: first byte
 * @bytes: 0: it was merged into the one before it
 * @prev, @next: neighbours, or NONE
 * @frozen: never merged
 */
struct symbol {
	uint32_t at, bytes, prev, next;
	bool frozen;
};

/**
 * struct pair - two neighbours that are a piece together
 * @score: of the piece
 * @left, @right: symbols
 * @bytes: of both, when the pair was found
 */
struct pair {
	float score;
	uint32_t left, right, bytes;
};

/**
 * struct work - one text
 * @text: @bytes of it, spaces replaced
 * @symbols: in order; the first is always there
 * @heap: of pairs, the best first
 */
struct work {
	const struct spm *spm;
	char *text;
	size_t bytes;
	struct symbol *symbols;
	uint32_t symbol_count;
	struct pair *heap;
	size_t heap_count, heap_room;
};

/* Into @out, when that is not NULL. Return: bytes. */
static size_t normalise(const struct spm *spm, const char *text, char *out)
{
	const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
	size_t left = strlen(text), n = 0;
	utf8proc_int32_t point;

	if (spm->add_space && left) {
		if (out)
			memcpy(out, SPACE, MARK_BYTES);
		n = MARK_BYTES;
	}
	while (left) {
		utf8proc_ssize_t used = utf8proc_iterate(at, (utf8proc_ssize_t)left, &point);
		const char *put = used < 0 ? REPLACEMENT : point == ' ' ? SPACE : (const char *)at;
		size_t bytes = used < 0 || point == ' ' ? MARK_BYTES : (size_t)used;

		if (out)
			memcpy(out + n, put, bytes);
		n += bytes;
		at += used < 0 ? 1 : used;
		left -= used < 0 ? 1 : (size_t)used;
	}
	return n;
}

/*
 * Bytes of the character that starts with this byte; the text is valid.  Behind a user's piece that
 * ends inside a character each byte that is left of it is one.
 */
static uint32_t char_bytes(unsigned char first)
{
	return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static void split(struct work *w)
{
	uint32_t n = 0;

	for (size_t at = 0; at < w->bytes; n++) {
		uint32_t user = find_user(w->spm, w->text + at, w->bytes - at);
		uint32_t bytes = user ? user : char_bytes((unsigned char)w->text[at]);

		w->symbols[n] = (struct symbol){ (uint32_t)at, bytes, n - 1, n + 1, user };
		at += bytes;
	}
	w->symbol_count = n;
	if (n)
		w->symbols[n - 1].next = NONE;
}

static bool is_before(const struct pair *a, const struct pair *b)
{
	return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static int heap_push(struct work *w, struct pair pair)
{
	size_t at = w->heap_count;

	if (at == w->heap_room) {
		size_t room = w->heap_room ? 2 * w->heap_room : 64;
		struct pair *grown = reallocarray(w->heap, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->heap = grown;
		w->heap_room = room;
	}
	w->heap_count++;
	while (at && is_before(&pair, &w->heap[(at - 1) / 2])) {
		w->heap[at] = w->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	w->heap[at] = pair;
	return 0;
}

static struct pair heap_pop(struct work *w)
{
	struct pair best = w->heap[0], last = w->heap[--w->heap_count];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < w->heap_count) {
		if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!is_before(&w->heap[child], &last))
			break;
		w->heap[at] = w->heap[child];
		at = child;
	}
	w->heap[at] = last;
	return best;
}

/* Are these two a piece? Either may be NONE. */
static int offer(struct work *w, uint32_t left, uint32_t right)
{
	const struct symbol *l, *r;
	int32_t id;

	if (left == NONE || right == NONE)
		return 0;
	l = &w->symbols[left];
	r = &w->symbols[right];
	if (l->frozen || r->frozen)
		return 0;
	id = find_piece(w->spm, w->text + l->at, l->bytes + r->bytes);
	if (id < 0)
		return 0;
	return heap_push(w, (struct pair){ w->spm->pieces[id].score, left, right,
					   l->bytes + r->bytes });
}

static int merge(struct work *w, const struct pair *p)
{
	struct symbol *l = &w->symbols[p->left], *r = &w->symbols[p->right];
	int rc;

	if (!l->bytes || !r->bytes || l->bytes + r->bytes != p->bytes)
		return 0;	/* another merge was there before */
	l->bytes += r->bytes;
	r->bytes = 0;
	l->next = r->next;
	if (l->next != NONE)
		w->symbols[l->next].prev = p->left;
	rc = offer(w, l->prev, p->left);
	return rc ? rc : offer(w, p->left, l->next);
}

static int merge_all(struct work *w)
{
	int rc = 0;

	for (uint32_t i = 1; i < w->symbol_count && !rc; i++)
		rc = offer(w, i - 1, i);
	while (w->heap_count && !rc) {
		struct pair best = heap_pop(w);

		rc = merge(w, &best);
	}
	return rc;
}

/* The ids of a symbol, into @out. Return: how many, at most its bytes. */
static size_t put_symbol(const struct work *w, const struct symbol *s, int32_t *out)
{
	const unsigned char *text = (const unsigned char *)w->text + s->at;
	int32_t id = find_piece(w->spm, w->text + s->at, s->bytes);

	if (id >= 0 || !w->spm->has_bytes) {
		*out = id >= 0 ? id : w->spm->unknown;
		return 1;
	}
	for (uint32_t i = 0; i < s->bytes; i++)
		out[i] = w->spm->byte[text[i]];
	return s->bytes;
}

static int64_t put_ids(const struct work *w, int32_t **out)
{
	int32_t *ids = malloc((w->bytes + 1) * sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return -ENOMEM;
	if (w->spm->add_bos)
		ids[n++] = w->spm->bos;
	for (uint32_t i = 0; w->symbol_count && i != NONE; i = w->symbols[i].next)
		n += put_symbol(w, &w->symbols[i], ids + n);
	*out = ids;
	return (int64_t)n;
}

int64_t spm_encode(const struct spm *spm, const char *text, int32_t **out)
{
	struct work w = { .spm = spm };
	int64_t n = -ENOMEM;

	if (strlen(text) >= TEXT_MAX)
		return -E2BIG;
	w.bytes = normalise(spm, text, NULL);
	w.text = malloc(w.bytes + 1);
	w.symbols = calloc(w.bytes + 1, sizeof(*w.symbols));
	if (w.text && w.symbols) {
		normalise(spm, text, w.text);
		split(&w);
		n = merge_all(&w);
	}
	if (!n)
		n = put_ids(&w, out);
	free(w.heap);
	free(w.symbols);
	free(w.text);
	return n;
}

/* --- ids to text -------------------------------------------------------- */

size_t spm_decode(const struct spm *spm, int32_t id, char *out)
{
	const struct piece *piece = &spm->pieces[id];
	size_t n = 0;

	if (piece->type == TYPE_BYTE) {
		*out = (char)named_byte(piece);
		return 1;
	}
	if (piece->type != TYPE_NORMAL && piece->type != TYPE_USER)
		return 0;
	for (uint32_t i = 0; i < piece->bytes;) {
		if (piece->bytes - i >= MARK_BYTES && !memcmp(piece->text + i, SPACE, MARK_BYTES)) {
			out[n++] = ' ';
			i += MARK_BYTES;
		} else {
			out[n++] = piece->text[i++];
		}
	}
	return n;
}
