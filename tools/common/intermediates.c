// SPDX-License-Identifier: MIT
#include "common/intermediates.h"

#include <inttypes.h>

#include "common/cli.h"
#include "common/size.h"

#define Y_BYTES_MAX ((uint64_t)8 << 20)

uint32_t intermediates_rows(const struct weight *w, uint32_t m)
{
	uint64_t rows = Y_BYTES_MAX / sizeof(float) / m / w->unit_rows * w->unit_rows;

	return rows ? (uint32_t)rows : w->unit_rows;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

struct intermediates intermediates_of(const struct weights *w, uint32_t m)
{
	struct intermediates i = { 0 };
	uint64_t products = 0;

	for (size_t at = 0; at < w->count; at++) {
		const struct weight *one = &w->list[at];
		uint32_t rows = intermediates_rows(one, m);

		i.x = most(i.x, (uint64_t)m * one->k * sizeof(float));
		i.y = most(i.y, (uint64_t)m * (one->n < rows ? one->n : rows) * sizeof(float));
		products += (uint64_t)(one->experts ? one->experts : 1) *
			    (one->n / rows + (one->n % rows ? 1 : 0));
	}
	i.digest = products * INTERMEDIATES_DIGEST_COLS * sizeof(float);
	return i;
}

static uint64_t whole(uint64_t bytes, uint64_t chunk_bytes)
{
	return (bytes + chunk_bytes - 1) / chunk_bytes * chunk_bytes;
}

uint64_t intermediates_bytes(const struct intermediates *i, uint64_t chunk_bytes)
{
	return whole(i->x, chunk_bytes) + whole(i->y, chunk_bytes) + whole(i->digest, chunk_bytes);
}

uint64_t intermediates_host(const struct weights *w, uint32_t m, uint64_t chunk_bytes)
{
	struct intermediates i = intermediates_of(w, m);

	return weights_host(w, intermediates_bytes(&i, chunk_bytes), chunk_bytes);
}

int intermediates_refuse(const char *command, uint64_t host_bytes, uint64_t need_bytes,
			 uint64_t arrays_bytes, uint64_t chunk_bytes)
{
	return cli_fail("%s: --host %s is below the %s (%" PRIu64 " bytes) that two panels and %s "
			"of activations need at chunks of %s", command, size_text(host_bytes).s,
			size_text(need_bytes).s, need_bytes, size_text(arrays_bytes).s,
			size_text(chunk_bytes).s);
}
