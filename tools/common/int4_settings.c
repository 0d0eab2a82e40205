// SPDX-License-Identifier: MIT
#include "common/int4_settings.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* A config of a model has some KiB. */
#define CONFIG_BYTES_MAX (16 << 20)

/**
 * struct place - where settings may be
 * @file: beside the checkpoint
 * @member: of it, with a dot behind it; "": the file is all settings
 * @method: when they name none; NULL: they must
 */
static const struct place {
	const char *file, *member, *method;
} places[] = {
	{ "config.json", "quantization_config.", NULL },
	{ "quantize_config.json", "", "gptq" },
	{ "quant_config.json", "", "awq" },
};

#define PLACES (sizeof(places) / sizeof(places[0]))

/* Where to say why not. */
struct reason {
	char *text;
	size_t len;
};

static int __attribute__((format(printf, 3, 4)))
fail(const struct reason *why, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, why->len, format, args);
	va_end(args);
	return rc;
}

/* --- fields --- */

/**
 * struct settings - an object while it is read
 * @place: where it is
 * @o: its fields
 */
struct settings {
	const struct place *place;
	struct json_object *o;
	const struct reason *why;
};

/* AutoAWQ's own names come second. */
static int take_number(const struct settings *s, const char *name, const char *other, int64_t *out)
{
	struct json_object *value;

	if (!json_object_object_get_ex(s->o, name, &value) &&
	    !json_object_object_get_ex(s->o, other, &value))
		return fail(s->why, -EINVAL, "%s has no %s%s", s->place->file, s->place->member,
			    name);
	if (!json_object_is_type(value, json_type_int))
		return fail(s->why, -EINVAL, "%s: %s%s is %.40s, no whole number", s->place->file,
			    s->place->member, name, json_object_to_json_string(value));
	*out = json_object_get_int64(value);
	return 0;
}

/* false where there is none. */
static int take_flag(const struct settings *s, const char *name, bool *out)
{
	struct json_object *value = NULL;

	*out = false;
	if (!json_object_object_get_ex(s->o, name, &value) || !value)
		return 0;
	if (!json_object_is_type(value, json_type_boolean))
		return fail(s->why, -EINVAL, "%s: %s%s is %.40s, neither true nor false",
			    s->place->file, s->place->member, name, json_object_to_json_string(value));
	*out = json_object_get_boolean(value);
	return 0;
}

/* Which of two words a field is; absent: @otherwise, and -1 when there must be one. */
static int take_word(const struct settings *s, const char *name, const char *const words[2],
		     int otherwise, int *out)
{
	struct json_object *value = NULL;
	const char *text;

	*out = otherwise;
	if (!json_object_object_get_ex(s->o, name, &value) || !value)
		return otherwise >= 0 ? 0 : fail(s->why, -EINVAL, "%s has no %s%s", s->place->file,
						 s->place->member, name);
	text = json_object_get_string(value);
	for (*out = 0; *out < 2; (*out)++)
		if (json_object_is_type(value, json_type_string) && words[*out] &&
		    !strcasecmp(text, words[*out]))
			return 0;
	return fail(s->why, -EOPNOTSUPP, "%s: %s%s is %.40s, taken %s \"%s\"%s%s%s", s->place->file,
		    s->place->member, name, json_object_to_json_string(value),
		    words[1] ? "are" : "is", words[0], words[1] ? " and \"" : "",
		    words[1] ? words[1] : "", words[1] ? "\"" : "");
}

static int take_scheme(const struct settings *s, enum vgpu_pack_scheme *out)
{
	static const char *const methods[2] = { "awq", "gptq" };
	static const char *const versions[2] = { "gemm", NULL };
	static const char *const formats[2] = { "gptq", "gptq_v2" };
	const char *method = s->place->method;
	int which, form, rc;

	rc = take_word(s, "quant_method", methods, method ? !strcmp(method, "gptq") : -1, &which);
	if (rc)
		return rc;
	rc = which ? take_word(s, "checkpoint_format", formats, 0, &form) :
		     take_word(s, "version", versions, 0, &form);
	*out = !which ? VGPU_PACK_AWQ : form ? VGPU_PACK_GPTQ_V2 : VGPU_PACK_GPTQ;
	return rc;
}

static int take_all(const struct settings *s, struct int4_settings *out)
{
	int rc = take_scheme(s, &out->scheme);

	if (!rc)
		rc = take_number(s, "bits", "w_bit", &out->bits);
	if (!rc)
		rc = take_number(s, "group_size", "q_group_size", &out->group);
	return rc ? rc : take_flag(s, "desc_act", &out->desc_act);
}

/* --- files --- */

/* The object of a file that holds one. -ENOENT: there is no such file. */
static int read_object(const char *path, const struct place *place, const struct reason *why,
		       struct json_object **out)
{
	struct stat st;

	if (stat(path, &st))
		return fail(why, -errno, "%s: %s", place->file, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_BYTES_MAX)
		return fail(why, -EINVAL, "%s is no file of at most %d bytes", place->file,
			    CONFIG_BYTES_MAX);
	*out = json_object_from_file(path);
	if (json_object_is_type(*out, json_type_object))
		return 0;
	json_object_put(*out);
	*out = NULL;
	return fail(why, -EINVAL, "%s holds no JSON object", place->file);
}

/* -ENOENT: neither this file nor this member of it. */
static int read_place(const char *folder, const struct place *place, const struct reason *why,
		      struct int4_settings *out)
{
	struct settings s = { place, NULL, why };
	struct json_object *file = NULL;
	char *path;
	int rc;

	if (asprintf(&path, "%s/%s", folder, place->file) < 0)
		return fail(why, -ENOMEM, "out of memory");
	rc = read_object(path, place, why, &file);
	free(path);
	if (rc)
		return rc;
	s.o = file;
	if (*place->member &&
	    (!json_object_object_get_ex(file, "quantization_config", &s.o) || !s.o))
		rc = fail(why, -ENOENT, "%s has no quantization_config", place->file);
	else if (!json_object_is_type(s.o, json_type_object))
		rc = fail(why, -EINVAL, "%s: quantization_config is no object", place->file);
	if (!rc)
		rc = take_all(&s, out);
	json_object_put(file);
	return rc;
}

static char *folder_of(const struct vgpu_checkpoint *ck)
{
	const char *path = vgpu_checkpoint_file_path(ck, 0), *slash = strrchr(path, '/');

	return slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
}

/* --- metadata --- */

static int meta_number(const struct vgpu_checkpoint *ck, const char *key, const struct reason *why,
		       int64_t *out)
{
	struct vgpu_string text;
	char *end;
	int rc = vgpu_checkpoint_meta_string(ck, key, &text);

	if (rc)
		return fail(why, -EINVAL, "the metadata has no %s", key);
	errno = 0;
	*out = strtoll(text.text, &end, 10);
	if (errno || end == text.text || *end)
		return fail(why, -EINVAL, "the metadata's %s is \"%.40s\", no whole number", key,
			    text.text);
	return 0;
}

/* Python's words; none: false. */
static int meta_flag(const struct vgpu_checkpoint *ck, const char *key, const struct reason *why,
		     bool *out)
{
	struct vgpu_string text;

	*out = false;
	if (vgpu_checkpoint_meta_string(ck, key, &text))
		return 0;
	*out = !strcasecmp(text.text, "true");
	if (*out || !strcasecmp(text.text, "false"))
		return 0;
	return fail(why, -EINVAL, "the metadata's %s is \"%.40s\", neither true nor false", key,
		    text.text);
}

static int read_metadata(const struct vgpu_checkpoint *ck, const struct reason *why,
			 struct int4_settings *out)
{
	int rc;

	if (!vgpu_checkpoint_meta_find(ck, "gptq_bits") &&
	    !vgpu_checkpoint_meta_find(ck, "gptq_group_size"))
		return -ENOENT;
	out->scheme = VGPU_PACK_GPTQ;
	rc = meta_number(ck, "gptq_bits", why, &out->bits);
	if (!rc)
		rc = meta_number(ck, "gptq_group_size", why, &out->group);
	return rc ? rc : meta_flag(ck, "gptq_desc_act", why, &out->desc_act);
}

int int4_settings_read(const struct vgpu_checkpoint *ck, struct int4_settings *out, char *why,
		       size_t len)
{
	const struct reason reason = { why, len };
	char *folder = folder_of(ck), first[64] = "";
	int rc = folder ? -ENOENT : fail(&reason, -ENOMEM, "out of memory");

	for (size_t i = 0; i < PLACES && rc == -ENOENT; i++) {
		rc = read_place(folder, &places[i], &reason, out);
		if (!i && rc == -ENOENT)
			snprintf(first, sizeof(first), "%s", why);
	}
	if (rc == -ENOENT)
		rc = read_metadata(ck, &reason, out);
	if (rc == -ENOENT)
		fail(&reason, rc, "no settings of its layer: %s; nor is there quantize_config.json or "
		     "quant_config.json beside it", first);
	free(folder);
	return rc;
}
