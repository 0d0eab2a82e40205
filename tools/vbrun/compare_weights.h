/* SPDX-License-Identifier: MIT */
/* What packing does to the weights of a model: sampled, beside what the file says. */
#ifndef VBRUN_COMPARE_WEIGHTS_H
#define VBRUN_COMPARE_WEIGHTS_H

#include "common/conversions.h"
#include "device.h"

/**
 * compare_weights() - compare packed weights with their source
 * @device: opened as these say, for this alone
 * @ck: of @w
 * @list: conversions_list() of @w; the comparison is added. Groups of rows are taken evenly
 *	from every tensor, about two MiB of each type
 *
 * Prints why when it fails, with the tensor's name. Return: exit status.
 */
int compare_weights(const struct device_options *device, const struct vgpu_checkpoint *ck,
		    const struct weights *w, struct conversions *list);

#endif
