// SPDX-License-Identifier: MIT
#include "common/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/part.h"
#include "common/text.h"

struct json_object *summary_new(const char *command)
{
	struct json_object *o = json_object_new_object();

	summary_bytes(o, "schema", SUMMARY_SCHEMA);
	summary_text(o, "command", command);
	return o;
}

void summary_bytes(struct json_object *o, const char *key, uint64_t value)
{
	if (o)
		json_object_object_add(o, key, json_object_new_uint64(value));
}

/* JSON knows neither NaN nor infinity: null. */
void summary_real(struct json_object *o, const char *key, double value)
{
	char digits[32];

	if (!o)
		return;
	snprintf(digits, sizeof(digits), "%.9g", value);
	json_object_object_add(o, key, isfinite(value) ? json_object_new_double_s(value, digits)
						       : NULL);
}

/* JSON is UTF-8; texts and names of tensors need not be. */
void summary_text(struct json_object *o, const char *key, const char *value)
{
	char *text = o ? text_utf8(value) : NULL;

	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
	free(text);
}

void summary_flag(struct json_object *o, const char *key, bool value)
{
	if (o)
		json_object_object_add(o, key, json_object_new_boolean(value));
}

void summary_digest(struct json_object *o, uint64_t value)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	summary_text(o, "digest", text);
}

struct json_object *summary_object(struct json_object *o, const char *key)
{
	struct json_object *child = o ? json_object_new_object() : NULL;

	if (child)
		json_object_object_add(o, key, child);
	return child;
}

struct json_object *summary_list(struct json_object *o, const char *key)
{
	struct json_object *child = o ? json_object_new_array() : NULL;

	if (child)
		json_object_object_add(o, key, child);
	return child;
}

struct json_object *summary_item(struct json_object *list)
{
	struct json_object *item = list ? json_object_new_object() : NULL;

	if (item)
		json_object_array_add(list, item);
	return item;
}

static void print(struct json_object *o, int flags)
{
	puts(json_object_to_json_string_ext(o, flags | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

void summary_print(struct json_object *o)
{
	print(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

void summary_print_line(struct json_object *o)
{
	print(o, JSON_C_TO_STRING_SPACED);
}

int summary_save(struct json_object *o, const char *path)
{
	struct part part;
	int rc = part_find(path, &part);

	if (rc)
		return rc;
	errno = 0;
	if (!json_object_to_file_ext(part.at, o, JSON_C_TO_STRING_PRETTY |
				     JSON_C_TO_STRING_NOSLASHESCAPE))
		return part_place(&part);
	rc = errno ? -errno : -EIO;
	unlink(part.at);
	return rc;
}
