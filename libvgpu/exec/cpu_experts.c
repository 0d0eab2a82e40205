// SPDX-License-Identifier: MIT
/*
 * MATMUL_ID on the CPU: one product an expert, over the rows that chose it.
 *
 * The indices are sorted by expert, so that an expert's rows are a segment of them.  As many
 * segments as have room are packed at once, one a thread at a time; then each expert's panel
 * is cut into blocks of rows as of any product, so that all threads work on it however few
 * rows chose it.  What a block yields goes where the indices say while it is warm, or lies
 * there at once where these rows are equally far apart, as one row or two always are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd.h"
#include "cpu_product.h"

/* What of packed activations a thread may keep in its caches. */
#define WARM_BYTES	(256u << 10)

static int routes_grow(struct vgpu_cpu *cpu, size_t n)
{
	struct vgpu_route *grown;

	if (n <= cpu->route_room)
		return 0;
	if (n > UINT32_MAX)
		return -EOVERFLOW;
	grown = realloc(cpu->routes, 2 * n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	cpu->routes = grown;
	cpu->route_room = (uint32_t)n;
	return 0;
}

int vgpu_cpu_matmul_select(void *be, const struct vgpu_work *w, uint32_t *matrices,
			   uint32_t *count, struct vgpu_wrong_id *wrong)
{
	uint64_t n = vgpu_backend_ids(w->cmd);
	struct vgpu_cpu *cpu = be;
	int rc = routes_grow(cpu, n);

	cpu->route_count = 0;
	cpu->segments = 0;
	if (!rc)
		rc = vgpu_backend_select_ids(w, cpu->routes, matrices, count, wrong);
	if (!rc)
		cpu->route_count = (uint32_t)n;
	return rc;
}

/* Rows of an operand, as far apart as its strides say. */
struct rows {
	float *data;
	size_t ld, ldt;
};

/* Where the row of a route is. */
static float *row_of(const struct rows *r, const struct vgpu_route *route, uint32_t top)
{
	return r->data + route->index / top * r->ld + route->index % top * r->ldt;
}

static struct rows x_rows(const struct vgpu_work *w)
{
	const struct vb_operand *x = &((const struct vb_cmd_matmul_id *)w->cmd)->x;

	/* The same for all choices of a row, or one for each. */
	return (struct rows){ w->ptr[0], vgpu_cpu_stride(x, 0), x->rank == 3 ? vgpu_cpu_stride(x, 1) : 0 };
}

static struct rows y_rows(const struct vgpu_work *w)
{
	const struct vb_operand *y = &((const struct vb_cmd_matmul_id *)w->cmd)->y;

	return (struct rows){ w->ptr[4], vgpu_cpu_stride(y, 0), vgpu_cpu_stride(y, 1) };
}

/* Are the rows of these routes equally far apart, each behind the one before?  *ld: how far. */
static bool rows_are_even(const struct rows *r, const struct vgpu_route *route, uint32_t n,
			  uint32_t top, size_t *ld)
{
	const float *at = row_of(r, route, top);

	*ld = 0;
	for (uint32_t i = 1; i < n; i++) {
		const float *next = row_of(r, &route[i], top);

		if (next < at || (i > 1 && (size_t)(next - at) != *ld))
			return false;
		*ld = (size_t)(next - at);
		at = next;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Segments
 */

/**
 * struct batch - segments on their way to be packed
 * @x: where rows are
 * @most: rows that there is room for
 * @warm: rows that stay in the caches until they are used
 */
struct batch {
	struct vgpu_cpu *cpu;
	const struct vb_cmd_matmul_id *c;
	struct rows x;
	uint32_t k, most, warm;
};

static uint32_t expert_end(const struct vgpu_cpu *cpu, uint32_t first)
{
	uint32_t end = first + 1;

	while (end < cpu->route_count && cpu->routes[end].expert == cpu->routes[first].expert)
		end++;
	return end;
}

static int segment_add(struct vgpu_cpu *cpu, uint32_t first, uint32_t end)
{
	uint32_t room = cpu->segment_room ? 2 * cpu->segment_room : 64;
	struct vgpu_cpu_segment *grown = cpu->segment;

	if (cpu->segments == cpu->segment_room) {
		grown = realloc(cpu->segment, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		cpu->segment = grown;
		cpu->segment_room = room;
	}
	cpu->segment[cpu->segments++] = (struct vgpu_cpu_segment){ .first = first, .end = end };
	return 0;
}

/* Routes [first, end), and where they are all of their expert those of the next ones. */
static int batch_choose(const struct batch *b, uint32_t first, uint32_t end)
{
	struct vgpu_cpu *cpu = b->cpu;
	uint32_t from = first;
	int rc = segment_add(cpu, first, end);

	if (end != expert_end(cpu, first) ||
	    (first && cpu->routes[first - 1].expert == cpu->routes[first].expert))
		return rc;
	for (first = end; first < cpu->route_count && !rc; first = end) {
		end = expert_end(cpu, first);
		if (end - from > b->most || (end - from > b->warm && cpu->segments >= cpu->threads))
			break;
		rc = segment_add(cpu, first, end);
	}
	return rc;
}

/* Do two segments have the same rows of x?  All those of one row of activations do. */
static bool segments_are_equal(const struct batch *b, const struct vgpu_cpu_segment *s,
			       const struct vgpu_cpu_segment *t)
{
	const struct vgpu_route *route = b->cpu->routes;
	uint32_t top = b->c->ids.shape[1];

	if (s->end - s->first != t->end - t->first)
		return false;
	for (uint32_t i = 0; i < s->end - s->first; i++)
		if (row_of(&b->x, &route[s->first + i], top) != row_of(&b->x, &route[t->first + i], top))
			return false;
	return true;
}

/* Memory for each, but for those that have the rows of the one before. */
static int batch_place(const struct batch *b)
{
	enum vgpu_mode mode = vgpu_matmul_mode(b->c->w.format, (enum vgpu_mode)b->c->mode);
	struct vgpu_cpu_segment *s = b->cpu->segment;
	uint32_t n = b->cpu->segments;
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		s[i].shared = i && segments_are_equal(b, &s[i - 1], &s[i]);
		bytes += s[i].shared ? 0 : vgpu_acts_bytes(mode, s[i].end - s[i].first, b->k);
	}
	if (vgpu_cpu_grow(&b->cpu->acts_memory, bytes) ||
	    vgpu_cpu_grow(&b->cpu->rows_in,
			  (size_t)(s[n - 1].end - s->first) * b->k * sizeof(float)))
		return -ENOMEM;
	bytes = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t m = s[i].end - s[i].first;

		if (s[i].shared) {
			s[i].acts = s[i - 1].acts;
			continue;
		}
		vgpu_acts_init(&s[i].acts, mode, m, b->k, b->cpu->acts_memory.data + bytes);
		bytes += vgpu_acts_bytes(mode, m, b->k);
	}
	return 0;
}

/* One segment: its rows are copied together where they are not evenly apart. */
static void segment_pack(void *ctx, size_t item)
{
	const struct batch *b = ctx;
	struct vgpu_cpu *cpu = b->cpu;
	struct vgpu_cpu_segment *s = &cpu->segment[item];
	const struct vgpu_route *route = &cpu->routes[s->first];
	uint32_t top = b->c->ids.shape[1], m = s->end - s->first;
	const float *x = row_of(&b->x, route, top);
	size_t ld;

	if (s->shared)
		return;
	if (!rows_are_even(&b->x, route, m, top, &ld)) {
		float *to = (float *)cpu->rows_in.data + (s->first - cpu->segment->first) * (size_t)b->k;

		for (uint32_t i = 0; i < m; i++)
			memcpy(to + (size_t)i * b->k, row_of(&b->x, &route[i], top),
			       b->k * sizeof(float));
		x = to;
		ld = b->k;
	}
	cpu->k->acts_pack(&s->acts, x, ld, 0, m);
}

/* Pack routes [first, end) of an expert, and what else there is room for. */
static int batch_pack(struct batch *b, const struct vgpu_work *w, uint32_t first, uint32_t end)
{
	struct vgpu_cpu *cpu = b->cpu;
	uint64_t values;
	int rc;

	cpu->segments = 0;
	rc = batch_choose(b, first, end);
	if (!rc)
		rc = batch_place(b);
	if (!rc)
		rc = vgpu_cpu_scratch_grow(cpu, vgpu_matmul_scratch_bytes(b->c->w.format, b->k));
	if (rc) {
		cpu->segments = 0;
		return rc;
	}
	values = (uint64_t)(cpu->segment[cpu->segments - 1].end - first) * b->k;
	rc = vgpu_cpu_run(cpu, w, segment_pack, b, cpu->segments, values / VGPU_CPU_PACKED_A_NS);
	if (rc)
		cpu->segments = 0;
	return rc;
}

/* The segment that begins with a route; NULL: it is not packed. */
static const struct vgpu_cpu_segment *segment_find(const struct vgpu_cpu *cpu, uint32_t first)
{
	uint32_t low = 0, high = cpu->segments;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (cpu->segment[middle].first < first)
			low = middle + 1;
		else
			high = middle;
	}
	return low < cpu->segments && cpu->segment[low].first == first ? &cpu->segment[low] : NULL;
}

/* ------------------------------------------------------------------------
 * Products
 */

/* Of a segment whose rows of y are not evenly apart. */
struct scattered {
	struct vgpu_product d;
	struct rows y;
	const struct vgpu_route *route;
	uint32_t top;
};

/* A block's results go where they belong. */
static void block_land(const struct vgpu_product *d, const struct vgpu_block *b)
{
	const struct scattered *s = (const void *)d;

	for (uint32_t i = 0; i < d->acts->m; i++)
		memcpy(row_of(&s->y, &s->route[i], s->top) + b->row, d->y + i * d->ldy + b->row,
		       b->rows * sizeof(float));
}

static int segment_product(const struct vgpu_product *d, const struct vgpu_work *w,
			   const struct vgpu_panel_work *p, const struct vgpu_cpu_segment *seg)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	struct scattered s = { .d = *d, .y = y_rows(w), .route = &d->cpu->routes[seg->first],
			       .top = c->ids.shape[1] };
	uint32_t m = seg->end - seg->first;

	s.d.acts = &seg->acts;
	s.y.data += p->row;
	if (rows_are_even(&s.y, s.route, m, s.top, &s.d.ldy)) {
		s.d.y = row_of(&s.y, s.route, s.top);
		return vgpu_product_run(&s.d, w, p);
	}
	if (vgpu_cpu_grow(&d->cpu->rows_out, (size_t)m * p->rows * sizeof(float)))
		return -ENOMEM;
	s.d.y = (float *)d->cpu->rows_out.data;
	s.d.ldy = p->rows;
	s.d.done = block_land;
	return vgpu_product_run(&s.d, w, p);
}

/* The routes of an expert. */
static void expert_find(const struct vgpu_cpu *cpu, uint32_t expert, uint32_t *first, uint32_t *end)
{
	uint32_t low = 0, high = cpu->route_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (cpu->routes[middle].expert < expert)
			low = middle + 1;
		else
			high = middle;
	}
	*first = low;
	*end = expert_end(cpu, low);
}

/* Bytes that are kept of a route, whichever panel of the expert is the widest. */
static uint64_t route_bytes(const struct vb_cmd_matmul_id *c, const struct vgpu_panel_work *p)
{
	uint32_t k = c->x.shape[c->x.rank - 1];
	uint64_t rows = p->row > p->rows ? p->row : p->rows;

	return vgpu_cpu_acts_row_bytes(c->w.format, c->mode, k) + (k + rows) * sizeof(float);
}

int vgpu_experts_panel(struct vgpu_product *d, const struct vgpu_work *w,
		       const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	struct batch b = {
		.cpu = d->cpu, .c = c, .x = x_rows(w), .k = c->x.shape[c->x.rank - 1],
		.most = (uint32_t)(VGPU_CPU_ROWS_BYTES / route_bytes(c, p)),
		.warm = (uint32_t)(d->cpu->threads * (uint64_t)WARM_BYTES / route_bytes(c, p)),
	};
	const struct vgpu_cpu_segment *s;
	uint32_t first, last, step;
	int rc = 0;

	expert_find(d->cpu, p->matrix, &first, &last);
	step = vgpu_cpu_rows_at_once(route_bytes(c, p), last - first);
	d->format = c->w.format;
	d->k = b.k;
	if (w->ptr[5])
		d->bias = (const float *)w->ptr[5] + p->matrix * vgpu_cpu_stride(&c->bias, 0) + p->row;
	for (; first < last && !rc; first = s->end) {
		s = segment_find(d->cpu, first);
		if (!s)
			rc = batch_pack(&b, w, first, step < last - first ? first + step : last);
		if (rc)
			return rc;
		s = s ? s : d->cpu->segment;
		rc = segment_product(d, w, p, s);
		if (!rc && s->end < last)
			rc = vgpu_work_go_on(w);
	}
	return rc;
}
