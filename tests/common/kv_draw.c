// SPDX-License-Identifier: MIT
#include "common/kv_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/attention.h"
#include "kernels/check.h"
#include "kernels/pack/half.h"

#define BLOCKS_MAX	24u

static struct guarded room_in, room_out;
static char problem[200];

static void open_once(void)
{
	if (!room_in.at && (guarded_open(&room_in, BLOCKS_MAX * 128) ||
			    guarded_open(&room_out, BLOCKS_MAX * VGPU_KV_Q8_0_BYTES)))
		abort();
}

/* Codes and what is in the middle between two, of any scale. */
static void draw_steps(uint64_t *rng, float x[32])
{
	float d = vgpu_f16_to_f32((uint16_t)(1 + rng_below(rng, 0x7a00)));

	x[0] = 127 * d;
	for (uint32_t i = 1; i < 32; i++)
		x[i] = ((float)rng_below(rng, 509) / 2 - 127) * d;
}

/* Sizes differ from block to block; in few of them one number is special. */
static void draw_block(uint64_t *rng, float x[32])
{
	static const float specials[] = { 0.0f, -0.0f, 0x1p-149f, -0x1p-140f, NAN, INFINITY, -INFINITY,
					  0x1.fffffep127f, 127 * 65520.0f, -126.99999f * 65520 };
	double size = ldexp(1, (int)rng_below(rng, draw_one_in(rng, 2) ? 8 : 80) - 50);

	for (uint32_t i = 0; i < 32; i++)
		x[i] = (float)(size * rng_gauss(rng));
	if (draw_one_in(rng, 4))
		draw_steps(rng, x);
	if (draw_one_in(rng, 6))
		x[rng_below(rng, 32)] = specials[rng_below(rng, sizeof(specials) / sizeof(*specials))];
}

const char *kv_draw(uint64_t number)
{
	uint64_t rng = draw_seed(number);
	uint32_t n = 32 * rng_below(&rng, BLOCKS_MAX + 1);
	bool at_end = rng_below(&rng, 2);
	uint8_t want[BLOCKS_MAX * VGPU_KV_Q8_0_BYTES], *got;
	size_t bytes = n / 32 * VGPU_KV_Q8_0_BYTES;
	float *x;

	open_once();
	x = guarded_part(&room_in, n * 4, at_end);
	got = guarded_part(&room_out, bytes, at_end);
	for (uint32_t i = 0; i < n; i += 32)
		draw_block(&rng, x + i);
	vgpu_kernels_get(VGPU_ISA_REF)->q8_0_encode(want, x, n);
	for (int isa = VGPU_ISA_AVX2; isa <= VGPU_ISA_AMX; isa++) {
		const struct vgpu_kernels *t = vgpu_kernels_get((enum vgpu_isa)isa);

		if (!t)
			continue;
		memset(got, 0xc5, bytes);
		t->q8_0_encode(got, x, n);
		for (size_t i = 0; i < bytes; i++) {
			if (got[i] == want[i])
				continue;
			snprintf(problem, sizeof(problem), "%u values to Q8_0, at %s: byte %zu is %u, not %u", n,
				 vgpu_isa_name(t->isa), i, got[i], want[i]);
			return problem;
		}
	}
	return NULL;
}
