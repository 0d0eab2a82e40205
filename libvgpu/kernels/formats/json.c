// SPDX-License-Identifier: MIT
#include "kernels/formats/json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static void skip_space(struct vgpu_json_walk *walk)
{
	while (walk->at < walk->end && strchr(" \t\r\n", *walk->at) && *walk->at)
		walk->at++;
}

static bool take(struct vgpu_json_walk *walk, char wanted)
{
	skip_space(walk);
	if (walk->at == walk->end || *walk->at != wanted)
		return false;
	walk->at++;
	return true;
}

/* From the opening quote to one past the closing one. */
static int skip_string(struct vgpu_json_walk *walk)
{
	for (walk->at++; walk->at < walk->end; walk->at++) {
		if (*walk->at == '"') {
			walk->at++;
			return 0;
		}
		if (*walk->at == '\\' && ++walk->at == walk->end)
			break;
	}
	return -EINVAL;
}

/* From an opening bracket to one past the one that closes it. */
static int skip_container(struct vgpu_json_walk *walk)
{
	char closers[VGPU_JSON_MAX_DEPTH];
	size_t depth = 0;

	while (walk->at < walk->end) {
		char c = *walk->at;

		if (c == '"') {
			if (skip_string(walk))
				return -EINVAL;
			continue;
		}
		if (c == '{' || c == '[') {
			/* The object that is walked is a level of its own. */
			if (depth == VGPU_JSON_MAX_DEPTH - 1)
				return -E2BIG;
			closers[depth++] = c == '{' ? '}' : ']';
		} else if (c == '}' || c == ']') {
			if (c != closers[--depth])
				return -EINVAL;
		}
		walk->at++;
		if (!depth)
			return 0;
	}
	return -EINVAL;
}

static int skip_word(struct vgpu_json_walk *walk)
{
	const char *start = walk->at;

	while (walk->at < walk->end && (unsigned char)*walk->at > ' ' &&
	       !strchr(",:{}[]\"", *walk->at))
		walk->at++;
	return walk->at == start ? -EINVAL : 0;
}

static int skip_value(struct vgpu_json_walk *walk)
{
	if (walk->at == walk->end)
		return -EINVAL;
	switch (*walk->at) {
	case '"':
		return skip_string(walk);
	case '{':
	case '[':
		return skip_container(walk);
	default:
		return skip_word(walk);
	}
}

int vgpu_json_begin(struct vgpu_json_walk *walk, struct vgpu_json_range object)
{
	walk->at = object.text;
	walk->end = object.text + object.bytes;
	walk->first = true;
	return take(walk, '{') ? 0 : -EINVAL;
}

int vgpu_json_next(struct vgpu_json_walk *walk, struct vgpu_json_range *key,
		   struct vgpu_json_range *value)
{
	int rc;

	if (take(walk, '}'))
		return 0;
	if (!walk->first && !take(walk, ','))
		return -EINVAL;
	walk->first = false;

	skip_space(walk);
	if (walk->at == walk->end || *walk->at != '"')
		return -EINVAL;
	key->text = walk->at;
	rc = skip_string(walk);
	if (rc)
		return rc;
	key->bytes = walk->at - key->text;
	if (!take(walk, ':'))
		return -EINVAL;

	skip_space(walk);
	value->text = walk->at;
	rc = skip_value(walk);
	if (rc)
		return rc;
	value->bytes = walk->at - value->text;
	return 1;
}

bool vgpu_json_at_end(const struct vgpu_json_walk *walk)
{
	struct vgpu_json_walk rest = *walk;

	skip_space(&rest);
	return rest.at == rest.end;
}

bool vgpu_json_is(struct vgpu_json_range range, const char *word)
{
	size_t bytes = strlen(word);

	return range.bytes == bytes + 2 && !memcmp(range.text + 1, word, bytes);
}

struct json_object *vgpu_json_decode(struct json_tokener *tokener,
				     struct vgpu_json_range range, enum json_type type)
{
	struct json_object *object;

	if (range.bytes > INT_MAX)
		return NULL;
	json_tokener_reset(tokener);
	object = json_tokener_parse_ex(tokener, range.text, (int)range.bytes);
	if (json_tokener_get_error(tokener) == json_tokener_success &&
	    json_object_is_type(object, type))
		return object;
	json_object_put(object);
	return NULL;
}

struct json_tokener *vgpu_json_tokener(void)
{
	struct json_tokener *tokener = json_tokener_new_ex(VGPU_JSON_MAX_DEPTH);

	if (tokener)
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT |
				       JSON_TOKENER_VALIDATE_UTF8);
	return tokener;
}
