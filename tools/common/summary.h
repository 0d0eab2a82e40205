/* SPDX-License-Identifier: MIT */
/*
 * Machine-readable summaries: one JSON object with "schema" first, integers in bytes
 * and nanoseconds, fields only ever added.
 */
#ifndef TOOLS_SUMMARY_H
#define TOOLS_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>

#define SUMMARY_SCHEMA 1

/** summary_new() - { "schema": 1, "command": @command }; NULL when out of memory */
struct json_object *summary_new(const char *command);

/* Add a field. Nothing happens when @o is NULL. */
void summary_bytes(struct json_object *o, const char *key, uint64_t value);
void summary_real(struct json_object *o, const char *key, double value);
void summary_text(struct json_object *o, const char *key, const char *value);
void summary_flag(struct json_object *o, const char *key, bool value);
/* Field "digest", 16 hexadecimal digits: readers of JSON round long numbers. */
void summary_digest(struct json_object *o, uint64_t value);

/* Add an empty object or list and return it; it belongs to @o. */
struct json_object *summary_object(struct json_object *o, const char *key);
struct json_object *summary_list(struct json_object *o, const char *key);
/* Append an empty object to a list and return it. */
struct json_object *summary_item(struct json_object *list);

/** summary_print() - write it to stdout, one field a line, and free it */
void summary_print(struct json_object *o);
/** summary_print_line() - the same on one line, for bench.jsonl */
void summary_print_line(struct json_object *o);

/**
 * summary_save() - write it to a file, and keep it
 * @path: replaced, and only once the new one is complete
 *
 * Return: 0, or -errno; part_why() says which.
 */
int summary_save(struct json_object *o, const char *path);

#endif
