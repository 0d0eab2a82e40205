// SPDX-License-Identifier: MIT
/*
 * Compiled and never run: uapi_layout_test.c hands it to the compiler once for 64
 * and once for 32 bits, with -Wpadded.  It stands alone, as the UAPI header does.
 */
#include <linux/vblackwell.h>

#include <stddef.h>

#define STRUCT(type, bytes) \
	_Static_assert(sizeof(struct type) == (bytes), "size of " #type);
#define FIELD(type, member, offset, bytes) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member); \
	_Static_assert(sizeof(((struct type *)0)->member) == (bytes), #type "." #member);

#include "uapi_layout.h"

#define NUMBER(name, value)	_Static_assert((name) == (value), "value of " #name);
#define REQUEST(name, number)	_Static_assert(_IOC_NR(name) == (number), "number of " #name);

#include "uapi_numbers.h"
