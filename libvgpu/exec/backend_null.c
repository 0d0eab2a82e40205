// SPDX-License-Identifier: MIT
/*
 * Computes nothing: brings every byte a command needs and leaves outputs as they
 * are.  For measuring everything but the arithmetic, and for tests of residency.
 */
#include "backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int null_open(struct vgpu_pool *pool, void **out)
{
	static int nothing;

	(void)pool;
	*out = &nothing;
	return 0;
}

static void null_close(void *be)
{
	(void)be;
}

static bool null_supports(void *be, const struct vb_cmd_header *cmd)
{
	(void)be;
	(void)cmd;
	return true;
}

static int null_begin(void *be, const struct vgpu_work *w)
{
	(void)be;
	(void)w;
	return 0;
}

/* Which experts run is still decided by the indices. */
static int null_select(void *be, const struct vgpu_work *w, uint32_t *matrices, uint32_t *count,
		       struct vgpu_wrong_id *wrong)
{
	struct vgpu_route *routes = malloc(vgpu_backend_ids(w->cmd) * 2 * sizeof(*routes));
	int rc = routes ? vgpu_backend_select_ids(w, routes, matrices, count, wrong) : -ENOMEM;

	(void)be;
	free(routes);
	return rc;
}

static int null_panel(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p)
{
	(void)be;
	(void)w;
	(void)p;
	return 0;
}

static void null_end(void *be, const struct vgpu_work *w)
{
	(void)be;
	(void)w;
}

static int null_row(void *be, const struct vgpu_work *w, uint32_t out_row, uint32_t table_row,
		    const uint8_t *unit)
{
	(void)be;
	(void)w;
	(void)out_row;
	(void)table_row;
	(void)unit;
	return 0;
}

const struct vgpu_backend_ops vgpu_backend_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.supports = null_supports,
	.begin = null_begin,
	.select = null_select,
	.panel = null_panel,
	.end = null_end,
	.row = null_row,
	.run = null_begin,
};
