// SPDX-License-Identifier: MIT
#include "packed_layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "kernels/formats/int4_layer.h"
#include "kernels/pack/int4_units.h"

/* Packed at a time: enough for all threads. */
#define PIECE_BYTES	((uint64_t)8 << 20)
/*
 * Codes that are read at a time, unless 16 rows are more. Most layers are one stretch of the
 * file.
 */
#define BAND_BYTES	((uint64_t)32 << 20)

#define SAME(name) \
	_Static_assert((int)VGPU_PACK_##name == (int)VGPU_INT4_##name, #name)
SAME(AWQ);
SAME(GPTQ);
SAME(GPTQ_V2);
#undef SAME

const char *vgpu_packed_layer_scheme(const struct vgpu_pack_item *item)
{
	static const char *const names[] = { "awq", "gptq", "gptq_v2" };

	return names[item->layer.scheme];
}

static uint32_t groups_of(const struct vgpu_pack_item *item)
{
	return (item->pack.cols - 1) / item->layer.group + 1;
}

struct packed_layer_bytes vgpu_packed_layer_bytes(const struct vgpu_pack_item *item)
{
	uint64_t rows = item->pack.rows, groups = groups_of(item);

	return (struct packed_layer_bytes){
		.codes = rows * item->pack.cols / 2,
		.zeros = rows * groups / 2,
		.scales = rows * groups * 2,
	};
}

static int check_sides(const struct vgpu_pack_item *item)
{
	const struct vgpu_pack *p = &item->pack;

	if (p->rows > VGPU_INT4_MAX_WIDTH || p->cols > VGPU_INT4_MAX_WIDTH)
		return vgpu_fail(-E2BIG, "%.200s: %u x %u, the limit of a layer's sides is %u",
				 item->name, p->rows, p->cols, VGPU_INT4_MAX_WIDTH);
	if (!p->rows || p->rows % VGPU_INT4_WORD_CODES || !p->cols || p->stack > 1)
		return vgpu_fail(-EINVAL, "%.200s: %u matrices of %u x %u: a layer is one, its rows "
				 "a multiple of %u", item->name, p->stack, p->rows, p->cols,
				 VGPU_INT4_WORD_CODES);
	return 0;
}

int vgpu_packed_layer_check(const struct vgpu_pack_item *item)
{
	enum vgpu_format to = item->pack.packed_format;
	uint32_t cols, group = item->layer.group;
	bool zeros;
	int rc = check_sides(item);

	if (rc)
		return rc;
	if (item->layer.scheme > VGPU_PACK_GPTQ_V2)
		return vgpu_fail(-EINVAL, "%.200s: scheme %d is not known", item->name,
				 (int)item->layer.scheme);
	if (item->pack.source_format != VGPU_FORMAT_NONE || !vgpu_int4_format(to, &cols, &zeros))
		return vgpu_fail(-EINVAL, "%.200s: a layer from %s to %s", item->name,
				 vgpu_format_name(item->pack.source_format), vgpu_format_name(to));
	if (group % cols || item->pack.cols % cols)
		return vgpu_fail(-EINVAL, "%.200s: scales of %u columns of %s do not divide groups of "
				 "%u and rows of %u", item->name, cols, vgpu_format_name(to), group,
				 item->pack.cols);
	return 0;
}

/* ---- reading ---- */

/**
 * struct band - some rows of a layer: a layer by itself while they are packed
 * @item: the layer
 * @first: its first row, a multiple of 16
 * @rows: how many
 * @tensors: as a checkpoint of them alone would describe them
 * @memory: what they hold
 * @layer: of both
 */
struct band {
	const struct vgpu_pack_item *item;
	uint32_t first, rows;
	struct vgpu_tensor tensors[3];
	void *memory[3];
	struct vgpu_int4_layer layer;
};

static int read_range(const struct vgpu_pack_item *item, int fd, uint64_t offset, uint64_t bytes,
		      uint8_t *to)
{
	while (bytes) {
		ssize_t n = pread(fd, to, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vgpu_fail(-errno, "%.200s: byte %" PRIu64 ": %s", item->name, offset,
					 strerror(errno));
		if (!n)
			return vgpu_fail(-ESTALE, "%.200s: its source ends at byte %" PRIu64, item->name,
					 offset);
		to += n;
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/*
 * Outputs lie side by side in every tensor: of each line of one the part that is the band's.
 * @across: of a line for eight outputs, bytes
 */
static int read_lines(const struct band *b, int fd, uint64_t offset, uint64_t lines,
		      uint64_t across, void **out)
{
	uint64_t line = b->item->pack.rows / 8 * across, bytes = b->rows / 8 * across;
	int rc = 0;

	*out = malloc(lines * bytes);
	if (!*out)
		return vgpu_fail(-ENOMEM, "%.200s: no memory for %" PRIu64 " bytes of a layer",
				 b->item->name, lines * bytes);
	if (bytes == line)
		return read_range(b->item, fd, offset, lines * bytes, *out);
	offset += b->first / 8 * across;
	for (uint64_t i = 0; i < lines && !rc; i++)
		rc = read_range(b->item, fd, offset + i * line, bytes, (uint8_t *)*out + i * bytes);
	return rc;
}

static int read_band(struct band *b)
{
	const struct vgpu_pack_layer *l = &b->item->layer;
	uint32_t k = b->item->pack.cols, groups = groups_of(b->item);
	bool awq = l->scheme == VGPU_PACK_AWQ;
	int rc = read_lines(b, b->item->fd, b->item->offset, awq ? k : k / 8, awq ? 4 : 32,
			    &b->memory[0]);

	if (!rc)
		rc = read_lines(b, l->zeros_fd, l->zeros_offset, groups, 4, &b->memory[1]);
	return rc ? rc : read_lines(b, l->scales_fd, l->scales_offset, groups, 16, &b->memory[2]);
}

static struct vgpu_tensor tensor(const char *name, enum vgpu_dtype dtype, uint64_t down,
				 uint64_t across)
{
	return (struct vgpu_tensor){
		.name = name, .dtype_name = dtype == VGPU_DTYPE_F16 ? "F16" : "I32", .dtype = dtype,
		.rank = 2, .shape = { down, across, 1, 1, 1, 1, 1, 1 },
		.bytes = down * across * vgpu_dtype_info(dtype)->block_bytes,
	};
}

/* What is checked of a layer of a checkpoint is checked of this one: it may be another by now. */
static int look(struct band *b)
{
	const struct vgpu_pack_item *item = b->item;
	uint32_t n = b->rows, k = item->pack.cols, words = VGPU_INT4_WORD_CODES;
	bool awq = item->layer.scheme == VGPU_PACK_AWQ;
	struct vgpu_int4_source src = {
		.scheme = (enum vgpu_int4_scheme)item->layer.scheme, .bits = 4,
		.group = item->layer.group == k ? -1 : (int64_t)item->layer.group,
		.qweight = { &b->tensors[0], b->memory[0] },
		.qzeros = { &b->tensors[1], b->memory[1] },
		.scales = { &b->tensors[2], b->memory[2] },
	};
	struct vgpu_error error;
	int rc;

	b->tensors[0] = tensor("qweight", VGPU_DTYPE_I32, awq ? k : k / words, awq ? n / words : n);
	b->tensors[1] = tensor("qzeros", VGPU_DTYPE_I32, groups_of(item), n / words);
	b->tensors[2] = tensor("scales", VGPU_DTYPE_F16, groups_of(item), n);
	rc = vgpu_int4_layer_init(&b->layer, &src, &error);
	if (rc && b->first)
		return vgpu_fail(rc, "%.200s, outputs from %u on: %s", item->name, b->first, error.text);
	return rc ? vgpu_fail(rc, "%.200s: %s", item->name, error.text) : 0;
}

/* The caller's format may have scales of fewer columns than it could, or zero points of 8. */
static int use_format(struct band *b)
{
	enum vgpu_format format = b->item->pack.packed_format;
	uint32_t cols;
	bool zeros;

	vgpu_int4_format(format, &cols, &zeros);
	if (b->layer.zeros && !zeros)
		return vgpu_fail(-EDOM, "%.200s: a zero point is not 8, and %s has none", b->item->name,
				 vgpu_format_name(format));
	b->layer.cols = cols;
	b->layer.zeros = zeros;
	return 0;
}

/* ---- packing ---- */

/**
 * struct make - one call of vgpu_packed_layer_make()
 * @unit_bytes: of 16 rows
 * @piece: for @piece_units of them
 * @pool, @put, @arg: as given
 */
struct make {
	uint64_t unit_bytes;
	uint32_t piece_units;
	void *piece;
	struct vgpu_pool *pool;
	int (*put)(void *arg, uint64_t at, const void *from, uint64_t bytes);
	void *arg;
};

static int pack(const struct make *m, const struct band *b)
{
	uint32_t units = (b->rows + 15) / 16, count;
	uint64_t at = b->first / 16 * m->unit_bytes;
	int rc = 0;

	for (uint32_t first = 0; first < units && !rc; first += count) {
		count = units - first < m->piece_units ? units - first : m->piece_units;
		rc = vgpu_int4_units(&b->layer, first, count, m->piece, m->pool);
		rc = rc ? vgpu_fail(rc, "%.200s: cannot be packed", b->item->name) :
			  m->put(m->arg, at + first * m->unit_bytes, m->piece, count * m->unit_bytes);
	}
	return rc;
}

static int make_band(const struct make *m, struct band *b)
{
	int rc = read_band(b);

	if (!rc)
		rc = look(b);
	if (!rc)
		rc = use_format(b);
	if (!rc)
		rc = pack(m, b);
	for (uint32_t i = 0; i < 3; i++)
		free(b->memory[i]);
	return rc;
}

/* Of a layer that is read in bands each line is touched again; the kernel reads it as it lies. */
static void read_ahead(const struct vgpu_pack_item *item)
{
	posix_fadvise(item->fd, (off_t)item->offset, (off_t)vgpu_packed_layer_bytes(item).codes,
		      POSIX_FADV_WILLNEED);
}

static int make_bands(const struct make *m, const struct vgpu_pack_item *item)
{
	uint32_t step = (uint32_t)(BAND_BYTES / 8 / item->pack.cols) * 16, n = item->pack.rows;
	int rc = 0;

	step = step ? step : 16;
	if (step < n)
		read_ahead(item);
	for (uint32_t first = 0; first < n && !rc; first += step) {
		struct band b = { .item = item, .first = first,
				  .rows = n - first < step ? n - first : step };

		rc = make_band(m, &b);
	}
	return rc;
}

int vgpu_packed_layer_make(const struct vgpu_pack_item *item, struct vgpu_pool *pool,
			   int (*put)(void *arg, uint64_t at, const void *from, uint64_t bytes),
			   void *arg)
{
	uint32_t units = (item->pack.rows + 15) / 16;
	struct make m = { .pool = pool, .put = put, .arg = arg };
	int rc = vgpu_matrix_bytes(item->pack.packed_format, 1, item->pack.cols, &m.unit_bytes);

	if (rc)
		return rc;
	m.piece_units = (uint32_t)(PIECE_BYTES / m.unit_bytes) + 1;
	m.piece_units = m.piece_units < units ? m.piece_units : units;
	m.piece = aligned_alloc(64, m.piece_units * m.unit_bytes);
	if (!m.piece)
		return vgpu_fail(-ENOMEM, "%.200s: no memory to pack it in", item->name);
	rc = make_bands(&m, item);
	free(m.piece);
	return rc;
}
