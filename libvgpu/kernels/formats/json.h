/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_JSON_H
#define VGPU_FORMATS_JSON_H

#include <json-c/json.h>

#include "kernels/formats/checkpoint.h"

/*
 * A walk over the members of one JSON object, as byte ranges.
 *
 * json-c keeps the last of two equal keys and builds a whole tree at once. Here the
 * walk finds where members begin and end, the caller sees every key, and json-c decodes
 * and checks one small piece at a time, so that a hostile header costs no more memory
 * than its largest piece. The walk checks brackets, strings and depth; what a piece
 * says inside is json-c's to judge.
 */

/* Containers inside one another, the outermost counted; the formats need three. */
#define VGPU_JSON_MAX_DEPTH 8

/**
 * struct vgpu_json_range - a piece of JSON text, not NUL-terminated
 * @text: first byte
 * @bytes: length; a string includes its quotes
 */
struct vgpu_json_range {
	const char *text;
	size_t bytes;
};

/**
 * struct vgpu_json_walk - position between two members
 * @at: next byte
 * @end: one past the text
 * @first: no member was returned yet
 */
struct vgpu_json_walk {
	const char *at;
	const char *end;
	bool first;
};

/**
 * vgpu_json_begin() - enter the object at the start of a text
 * @walk: filled
 * @object: text whose first byte that is no white space must be '{'
 *
 * Return: 0 or -EINVAL.
 */
int vgpu_json_begin(struct vgpu_json_walk *walk, struct vgpu_json_range object);

/**
 * vgpu_json_next() - the next member
 * @walk: from vgpu_json_begin(); where it stands after -EINVAL is the byte at fault
 * @key: range of the key, a string
 * @value: range of the value
 *
 * Return: 1 with a member; 0 after the last one, @walk->at then being one past the
 * closing brace; -EINVAL malformed; -E2BIG deeper than VGPU_JSON_MAX_DEPTH.
 */
int vgpu_json_next(struct vgpu_json_walk *walk, struct vgpu_json_range *key,
		   struct vgpu_json_range *value);

/**
 * vgpu_json_at_end() - is there only white space left?
 * @walk: after vgpu_json_next() returned 0
 */
bool vgpu_json_at_end(const struct vgpu_json_walk *walk);

/* Is @range exactly the string @word, written without escapes? */
bool vgpu_json_is(struct vgpu_json_range range, const char *word);

/**
 * vgpu_json_decode() - let json-c read one value
 * @tokener: from vgpu_json_tokener()
 * @range: an object, array or string (a number has no end of its own)
 * @type: type that it must have
 *
 * Return: a json-c object to put; NULL when malformed, of another type or out of memory.
 */
struct json_object *vgpu_json_decode(struct json_tokener *tokener,
				     struct vgpu_json_range range, enum json_type type);

/* A strict tokener with our depth limit, for json_tokener_free(); NULL: no memory. */
struct json_tokener *vgpu_json_tokener(void);

#endif
