/* SPDX-License-Identifier: MIT */
/*
 * Files that appear under their name only once they are whole: until then they lie beside
 * it, as NAME.part.  What is there and is no file stays: a device, a pipe, a folder.
 */
#ifndef TOOLS_PART_H
#define TOOLS_PART_H

#define PART_PATH_BYTES 4096

/**
 * struct part - a file that is being written
 * @at: where it is until it is whole
 * @to: its place; a link stays, what it leads to is replaced
 */
struct part {
	char at[PART_PATH_BYTES];
	char to[PART_PATH_BYTES];
};

/**
 * part_find() - where to write a file of that name
 * @path: as asked for
 * @out: nothing is made yet
 *
 * Return: 0; -EISDIR; -EMEDIUMTYPE: something is there that is no file; -ELOOP: a link that
 * leads nowhere; -ENAMETOOLONG; what stat() said.
 */
int part_find(const char *path, struct part *out);

/**
 * part_check() - could a file of that name be made now?
 * @path: NULL: none is wanted, 0
 *
 * For a look before long work.
 * Return: as part_find(); what access() says of the folder.
 */
int part_check(const char *path);

/** part_place() - give a whole file its name. Return: 0, or -errno and it is gone. */
int part_place(const struct part *p);

/** part_why() - what an error of these two, or of writing, means in this place */
const char *part_why(int rc);

#endif
