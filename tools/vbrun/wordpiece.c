// SPDX-License-Identifier: MIT
/*
 * One pass over the text: each code point is cleaned, decomposed, lowered and added to
 * the word at hand; a separator ends the word, which is then cut into pieces.
 */
#include "wordpiece.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

#include "common/fnv.h"
#include "fail.h"

#define MAX_VOCAB_BYTES ((off_t)64 << 20)
/* Longer words are [UNK] without a look at the vocabulary. */
#define MAX_WORD_CHARS 100
#define CONTINUATION "##"

struct token {
	const char *text;
	uint32_t bytes;
};

struct wordpiece {
	char *vocab;		/* the file; tokens point into it */
	struct token *tokens;
	uint32_t count;
	uint32_t longest;	/* bytes of the longest token */
	uint32_t *slots;	/* open addressing: id + 1, or 0 for empty */
	uint32_t slot_mask;
	int32_t unk;
	int32_t cls;
	int32_t sep;
};

/* The word at hand, behind a place for the mark of a continuation. */
struct word {
	char bytes[sizeof(CONTINUATION) - 1 + 4 * MAX_WORD_CHARS];
	uint32_t starts[MAX_WORD_CHARS + 1];	/* byte offset of each character */
	uint32_t chars;				/* may exceed what is stored by one */
};

/* Where the ids of one text go. */
struct output {
	int32_t *ids;
	size_t count;
	size_t cap;
};

/* The slot that holds a token, or the empty one where it would go. */
static uint32_t *find_slot(const struct wordpiece *wp, const char *text, size_t bytes)
{
	uint32_t at = fnv32(FNV32_START, text, bytes) & wp->slot_mask;

	while (wp->slots[at]) {
		const struct token *token = &wp->tokens[wp->slots[at] - 1];

		if (token->bytes == bytes && !memcmp(token->text, text, bytes))
			break;
		at = (at + 1) & wp->slot_mask;
	}
	return &wp->slots[at];
}

static int32_t find_id(const struct wordpiece *wp, const char *text, size_t bytes)
{
	return (int32_t)*find_slot(wp, text, bytes) - 1;
}

static int read_vocab(const char *path, char **out, size_t *out_bytes,
		      struct vgpu_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	struct stat st;
	ssize_t n = 1;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st)) {
		rc = vbrun_fail(err, -errno, "%.160s: %s", path, strerror(errno));
		goto out;
	}
	if (st.st_size > MAX_VOCAB_BYTES) {
		rc = vbrun_fail(err, -E2BIG, "%.160s: %lld bytes exceed the limit %lld",
				    path, (long long)st.st_size, (long long)MAX_VOCAB_BYTES);
		goto out;
	}
	*out = malloc((size_t)st.st_size + 1);
	if (!*out) {
		rc = vbrun_fail(err, -ENOMEM, "%.160s: out of memory", path);
		goto out;
	}
	while (done < (size_t)st.st_size && n > 0) {
		n = read(fd, *out + done, (size_t)st.st_size - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	if (n < 0)
		rc = vbrun_fail(err, -errno, "%.160s: %s", path, strerror(errno));
	*out_bytes = done;
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

static uint32_t count_lines(const char *text, size_t bytes)
{
	uint32_t lines = bytes && text[bytes - 1] != '\n';

	while (bytes--)
		lines += *text++ == '\n';
	return lines;
}

static void split_lines(struct wordpiece *wp, const char *text, size_t bytes)
{
	const char *end = text + bytes, *stop;
	uint32_t i;

	for (i = 0; i < wp->count; i++) {
		struct token *token = &wp->tokens[i];

		stop = memchr(text, '\n', (size_t)(end - text));
		if (!stop)
			stop = end;
		token->text = text;
		token->bytes = (uint32_t)(stop - text);
		if (token->bytes && stop[-1] == '\r')
			token->bytes--;
		if (token->bytes > wp->longest)
			wp->longest = token->bytes;
		text = stop + 1;
	}
}

static int fill_slots(struct wordpiece *wp, const char *path, struct vgpu_error *err)
{
	uint32_t i, *slot;

	for (i = 0; i < wp->count; i++) {
		const struct token *token = &wp->tokens[i];

		slot = find_slot(wp, token->text, token->bytes);
		if (*slot)
			return vbrun_fail(err, -EINVAL,
				"%.120s: line %u: token '%.*s' stands in line %u already", path,
				i + 1, token->bytes > 60 ? 60 : (int)token->bytes, token->text,
				*slot);
		*slot = i + 1;
	}
	return 0;
}

static int index_vocab(struct wordpiece *wp, size_t bytes, const char *path,
		       struct vgpu_error *err)
{
	uint32_t slots = 16;

	wp->count = count_lines(wp->vocab, bytes);
	while (slots < 2 * wp->count)
		slots *= 2;
	wp->slot_mask = slots - 1;
	wp->tokens = calloc(wp->count + 1, sizeof(*wp->tokens));
	wp->slots = calloc(slots, sizeof(*wp->slots));
	if (!wp->tokens || !wp->slots)
		return vbrun_fail(err, -ENOMEM, "%.160s: no memory for %u tokens", path,
				      wp->count);
	split_lines(wp, wp->vocab, bytes);
	return fill_slots(wp, path, err);
}

static int find_special(struct wordpiece *wp, const char *path, struct vgpu_error *err)
{
	struct {
		const char *name;
		int32_t *id;
	} special[] = {
		{ "[UNK]", &wp->unk }, { "[CLS]", &wp->cls }, { "[SEP]", &wp->sep },
	};
	size_t i;

	for (i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
		*special[i].id = find_id(wp, special[i].name, 5);
		if (*special[i].id < 0)
			return vbrun_fail(err, -EINVAL,
				"%.160s: none of %u tokens is %s", path, wp->count,
				special[i].name);
	}
	return 0;
}

int wordpiece_open(const char *vocab_path, struct wordpiece **out, struct vgpu_error *err)
{
	struct wordpiece *wp = calloc(1, sizeof(*wp));
	size_t bytes = 0;
	int rc;

	if (!wp)
		return vbrun_fail(err, -ENOMEM, "%.160s: out of memory", vocab_path);
	rc = read_vocab(vocab_path, &wp->vocab, &bytes, err);
	if (!rc)
		rc = index_vocab(wp, bytes, vocab_path, err);
	if (!rc)
		rc = find_special(wp, vocab_path, err);
	if (rc) {
		wordpiece_close(wp);
		return rc;
	}
	*out = wp;
	return 0;
}

void wordpiece_close(struct wordpiece *wp)
{
	if (!wp)
		return;
	free(wp->slots);
	free(wp->tokens);
	free(wp->vocab);
	free(wp);
}

size_t wordpiece_count(const struct wordpiece *wp)
{
	return wp->count;
}

static void put_id(struct output *out, int32_t id)
{
	if (out->count >= out->cap)
		return;
	if (out->ids)
		out->ids[out->count] = id;
	out->count++;
}

/*
 * The longest piece that begins at character @first, as an id, and one past its last
 * character; -1 when the vocabulary has none. A piece inside a word carries the mark,
 * which is written over the two bytes before it and put back.
 */
static int32_t longest_piece(const struct wordpiece *wp, struct word *word, uint32_t first,
			     uint32_t *end)
{
	const uint32_t mark = sizeof(CONTINUATION) - 1;
	char *start = word->bytes + word->starts[first], saved[sizeof(CONTINUATION) - 1];
	int32_t id = -1;
	uint32_t last;

	if (first) {
		start -= mark;
		memcpy(saved, start, mark);
		memcpy(start, CONTINUATION, mark);
	}
	for (last = word->chars; last > first && id < 0; last--) {
		size_t bytes = (size_t)(word->bytes + word->starts[last] - start);

		if (bytes <= wp->longest)
			id = find_id(wp, start, bytes);
		*end = last;
	}
	if (first)
		memcpy(start, saved, mark);
	return id;
}

static void end_word(const struct wordpiece *wp, struct word *word, struct output *out)
{
	size_t before = out->count;
	uint32_t first, end = 0;
	int32_t id;

	if (word->chars > MAX_WORD_CHARS) {
		put_id(out, wp->unk);
		word->chars = 0;
	}
	for (first = 0; first < word->chars; first = end) {
		id = longest_piece(wp, word, first, &end);
		if (id < 0) {
			/* One missing piece makes the whole word unknown. */
			out->count = before;
			put_id(out, wp->unk);
			break;
		}
		put_id(out, id);
	}
	word->chars = 0;
	word->starts[0] = sizeof(CONTINUATION) - 1;
}

static void add_char(struct word *word, utf8proc_int32_t c)
{
	uint32_t at;

	if (word->chars >= MAX_WORD_CHARS) {
		word->chars = MAX_WORD_CHARS + 1;
		return;
	}
	at = word->starts[word->chars];
	at += (uint32_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)word->bytes + at);
	word->starts[++word->chars] = at;
}

/* The blocks that BERT's tokenizer calls Chinese; kana and hangul are not among them. */
static bool is_ideograph(utf8proc_int32_t c)
{
	return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
	       (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
	       (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
	       (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* All of ASCII that is neither letter, digit nor space counts, unlike in Unicode. */
static bool is_punctuation(utf8proc_int32_t c)
{
	if (c < 0x80)
		return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') ||
		       (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_PC:
	case UTF8PROC_CATEGORY_PD:
	case UTF8PROC_CATEGORY_PS:
	case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI:
	case UTF8PROC_CATEGORY_PF:
	case UTF8PROC_CATEGORY_PO:
		return true;
	default:
		return false;
	}
}

static bool is_space(utf8proc_int32_t c)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return true;
	default:
		return c == '\t' || c == '\n' || c == '\r';
	}
}

/* Removed without a trace, so that the word goes on behind it. */
static bool is_dropped(utf8proc_int32_t c)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CO:
		return true;
	default:
		return c == 0xfffd;
	}
}

/* A character of the text after decomposition. */
static void take_part(const struct wordpiece *wp, struct word *word, struct output *out,
		      utf8proc_int32_t c)
{
	bool alone;

	if (utf8proc_category(c) == UTF8PROC_CATEGORY_MN)
		return;
	c = utf8proc_tolower(c);
	alone = is_punctuation(c);
	if (alone)
		end_word(wp, word, out);
	add_char(word, c);
	if (alone)
		end_word(wp, word, out);
}

static void take_char(const struct wordpiece *wp, struct word *word, struct output *out,
		      utf8proc_int32_t c)
{
	utf8proc_int32_t parts[32];
	utf8proc_ssize_t count, i;
	bool alone = is_ideograph(c);
	int class = 0;

	if (is_space(c)) {
		end_word(wp, word, out);
		return;
	}
	if (is_dropped(c))
		return;
	if (alone)
		end_word(wp, word, out);
	/* Canonical decompositions have at most four characters. */
	count = utf8proc_decompose_char(c, parts, 32, UTF8PROC_DECOMPOSE, &class);
	for (i = 0; i < count && i < 32; i++)
		take_part(wp, word, out, parts[i]);
	if (alone)
		end_word(wp, word, out);
}

/* [CLS], pieces, [SEP]; @out->cap is at least 2. */
static size_t encode(const struct wordpiece *wp, const char *text, struct output *out)
{
	struct word word = { .starts = { sizeof(CONTINUATION) - 1 } };
	utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text), step;
	utf8proc_int32_t c;

	out->cap--;
	put_id(out, wp->cls);
	for (; left > 0 && out->count < out->cap; left -= step, text += step) {
		step = utf8proc_iterate((const utf8proc_uint8_t *)text, left, &c);
		if (step > 0)
			take_char(wp, &word, out, c);
		else
			step = 1;	/* a byte that is not UTF-8 */
	}
	end_word(wp, &word, out);
	out->cap++;
	put_id(out, wp->sep);
	return out->count;
}

int wordpiece_encode(const struct wordpiece *wp, const char *text, int32_t *ids, size_t cap)
{
	struct output out = { .ids = ids,
			      .cap = cap < WORDPIECE_MAX_IDS ? cap : WORDPIECE_MAX_IDS };

	return cap < 2 ? -EINVAL : (int)encode(wp, text, &out);
}

size_t wordpiece_length(const struct wordpiece *wp, const char *text)
{
	struct output out = { .cap = SIZE_MAX };

	return encode(wp, text, &out);
}
