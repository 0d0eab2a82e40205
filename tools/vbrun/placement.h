/* SPDX-License-Identifier: MIT */
/* Where a run's work was done and where its bytes lie: the part of a summary all have in common. */
#ifndef VBRUN_PLACEMENT_H
#define VBRUN_PLACEMENT_H

#include <json-c/json.h>
#include <stdio.h>

#include "device.h"

/* One line: how many commands of @c the device ran, and which device that is. */
void placement_print(struct vgpu *v, const struct counters *c, FILE *to);

/* A line for each arena: bytes and chunks in use, of how many. */
void placement_print_tiers(struct vgpu *v, FILE *to);
/* The same as list "tiers" of @o. */
void placement_summary_tiers(struct vgpu *v, struct json_object *o);

#endif
