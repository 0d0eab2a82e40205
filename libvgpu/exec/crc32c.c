// SPDX-License-Identifier: MIT
/*
 * CRC32C at four levels.
 *
 * Bit-reflected throughout: bit 31 of a 32-bit value is the coefficient of x^0, so shifting right
 * multiplies by x. All constants are powers of x modulo the polynomial and are computed once, so
 * none has to be believed.
 *
 * Words: a multiple of the polynomial has four terms, 1 + x^2751 + x^4508 + x^5275. Squared six
 * times it has them at 64 times these powers, and so says where a word of the message may be added
 * instead of where it is: at three words behind it. All but the last 5275 words are moved behind
 * so, and these are left to the table.
 * Source: Kadatch, Jenkins, Everything we know about CRC but afraid to forget, 2010, for such
 * multiples; Russell et al., Chorba, arXiv 2412.16398, 2024, for the method.
 *
 * SSE4.2: one crc32 instruction starts a cycle but takes three, so three streams of STREAM_BYTES
 * run side by side, and "append STREAM_BYTES zeros" (a linear map, four tables of 256) joins them.
 *
 * AVX-512: 256 bytes are kept as sixteen 128-bit polynomials, each multiplied by x^2048 when the
 * next 256 bytes are added. What is left at the end is congruent to the message, so the crc32
 * instruction over it gives the CRC of the message.
 * Source: Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ, Intel 2009.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "clock.h"
#include "exec/crc32c.h"

#define POLY		0x82f63b78u	/* reflected */
#define ONE		0x80000000u	/* x^0 */
#define STREAM_BYTES	2048u
#define FOLD_BYTES	256u
#define TERM_1		2751u		/* of the multiple with four terms */
#define TERM_2		4508u
#define TERM_3		5275u
#define RING_WORDS	8192u		/* a power of two, at least TERM_3 and a run */
#define RUN_WORDS	(TERM_3 - TERM_2)
#define FAST_RATE	2.0		/* bytes in a nanosecond; no CPU's instruction is slower */
#define TURNS		4
#define TURN_BYTES	4096u
#define WORDS_BYTES	(4 * 8 * TERM_3)	/* less than this is not worth it */

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t byte_table[256];
static uint32_t stream_table[4][256];	/* times x^(8 * STREAM_BYTES) */
static uint64_t fold_by_2048[2];	/* multipliers of the low and the high half */
static uint64_t fold_by_512[2];
static enum vgpu_crc32c_level best_level, long_level;

static uint32_t times_x(uint32_t a)
{
	return a & 1 ? (a >> 1) ^ POLY : a >> 1;
}

static uint32_t times(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1) {
		if (a & ONE)
			product ^= b;
		b = times_x(b);
	}
	return product;
}

/* x^n */
static uint32_t power(uint64_t n)
{
	uint32_t result = ONE;
	uint32_t square = times_x(ONE);

	for (; n; n >>= 1) {
		if (n & 1)
			result = times(result, square);
		square = times(square, square);
	}
	return result;
}

/*
 * Multiplying two reflected 64-bit polynomials gives one factor x too many, and a 32-bit value in
 * the low half of 64 stands for its polynomial times x^32. So x^(n+32) and x^(n-32), one bit to
 * the left, move the two halves of 128 bits up by x^n.
 */
static void fold_fill(uint64_t k[2], uint32_t n)
{
	k[0] = (uint64_t)power(n + 32) << 1;
	k[1] = (uint64_t)power(n - 32) << 1;
}

static enum vgpu_crc32c_level cpu_level(void)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("sse4.2"))
		return VGPU_CRC32C_WORDS;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq"))
		return VGPU_CRC32C_AVX512;
	return VGPU_CRC32C_SSE42;
#else
	return VGPU_CRC32C_WORDS;
#endif
}

static void long_level_choose(void);

static void tables_fill(void)
{
	uint32_t stream = power(8 * STREAM_BYTES);
	uint32_t i, b;

	for (i = 0; i < 256; i++) {
		byte_table[i] = i;
		for (b = 0; b < 8; b++)
			byte_table[i] = times_x(byte_table[i]);
		for (b = 0; b < 4; b++)
			stream_table[b][i] = times(i << (8 * b), stream);
	}
	fold_fill(fold_by_2048, 2048);
	fold_fill(fold_by_512, 512);
	best_level = cpu_level();
	long_level_choose();
}

static uint32_t crc_ref(uint32_t crc, const uint8_t *p, size_t bytes)
{
	while (bytes--)
		crc = byte_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return crc;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Words that came before: the ring, and the place of one in it. */
#define RING_AT(i)	((i) & (RING_WORDS - 1))

/* How many words from @i on can be done in a row: none of the four places wraps or is new. */
static size_t words_run(size_t i, size_t end)
{
	static const size_t back[] = { 0, TERM_3 - TERM_2, TERM_3 - TERM_1, TERM_3 };
	size_t n = end - i < RUN_WORDS ? end - i : RUN_WORDS, k;

	for (k = 0; k < 4; k++)
		if (n > RING_WORDS - RING_AT(i - back[k]))
			n = RING_WORDS - RING_AT(i - back[k]);
	return n;
}

static void words_add(uint64_t *to, const uint8_t *p, const uint64_t *a, const uint64_t *b,
		      const uint64_t *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = load64(p + 8 * i) ^ a[i] ^ b[i] ^ c[i];
}

static void words_step(uint64_t *ring, const uint8_t *p, size_t i, size_t n)
{
	words_add(&ring[RING_AT(i)], p + 8 * i, &ring[RING_AT(i - (TERM_3 - TERM_2))],
		  &ring[RING_AT(i - (TERM_3 - TERM_1))], &ring[RING_AT(i - TERM_3)], n);
}

static uint32_t crc_words(uint32_t crc, const uint8_t *p, size_t bytes)
{
	size_t count = bytes / 8, end = count - TERM_3, i, n;
	uint64_t *ring = NULL;

	/* Too much for a stack: the caller's may be a small one. */
	if (bytes >= WORDS_BYTES)
		ring = calloc(RING_WORDS, sizeof(*ring));
	if (!ring)
		return crc_ref(crc, p, bytes);
	words_step(ring, p, 0, 1);
	ring[0] ^= crc;
	for (i = 1; i < end; i += n) {
		n = words_run(i, end);
		words_step(ring, p, i, n);
	}
	/* What was moved behind is added, and stays where it is. */
	for (crc = 0; i < count; i++) {
		words_step(ring, p, i, 1);
		crc = crc_ref(crc, (const uint8_t *)&ring[RING_AT(i)], 8);
		ring[RING_AT(i)] = 0;
	}
	free(ring);
	return crc_ref(crc, p + 8 * count, bytes % 8);
}

#ifdef __x86_64__

static uint32_t append_stream(uint32_t crc)
{
	return stream_table[0][crc & 0xff] ^ stream_table[1][(crc >> 8) & 0xff] ^
	       stream_table[2][(crc >> 16) & 0xff] ^ stream_table[3][crc >> 24];
}

__attribute__((target("sse4.2")))
static uint32_t crc_serial(uint32_t crc, const uint8_t *p, size_t bytes)
{
	uint64_t c = crc;

	for (; bytes >= 8; bytes -= 8, p += 8)
		c = _mm_crc32_u64(c, load64(p));
	for (crc = (uint32_t)c; bytes; bytes--)
		crc = _mm_crc32_u8(crc, *p++);
	return crc;
}

__attribute__((target("sse4.2")))
static uint32_t crc_three_streams(uint32_t crc, const uint8_t *p)
{
	uint64_t a = crc, b = 0, c = 0;
	size_t i;

	for (i = 0; i < STREAM_BYTES; i += 8) {
		a = _mm_crc32_u64(a, load64(p + i));
		b = _mm_crc32_u64(b, load64(p + i + STREAM_BYTES));
		c = _mm_crc32_u64(c, load64(p + i + 2 * STREAM_BYTES));
	}
	return append_stream(append_stream((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

static uint32_t crc_sse42(uint32_t crc, const uint8_t *p, size_t bytes)
{
	for (; bytes >= 3 * STREAM_BYTES; bytes -= 3 * STREAM_BYTES, p += 3 * STREAM_BYTES)
		crc = crc_three_streams(crc, p);
	return crc_serial(crc, p, bytes);
}

#define AVX512_TARGET __attribute__((target("avx512f,vpclmulqdq,sse4.2")))

/* acc * x^n + next, for each 128 bits. */
AVX512_TARGET
static inline __m512i fold(__m512i acc, __m512i next, __m512i k)
{
	__m512i lo = _mm512_clmulepi64_epi128(acc, k, 0x00);
	__m512i hi = _mm512_clmulepi64_epi128(acc, k, 0x11);

	return _mm512_ternarylogic_epi64(lo, hi, next, 0x96);
}

AVX512_TARGET
static inline __m512i fold_constants(const uint64_t k[2])
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)k));
}

AVX512_TARGET
static uint32_t crc_avx512(uint32_t crc, const uint8_t *p, size_t bytes)
{
	__m512i k = fold_constants(fold_by_2048);
	__m512i x[4];
	uint8_t rest[64];
	int i;

	if (bytes < 2 * FOLD_BYTES)
		return crc_serial(crc, p, bytes);
	for (i = 0; i < 4; i++)
		x[i] = _mm512_loadu_si512(p + 64 * i);
	x[0] = _mm512_xor_si512(x[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
	for (p += FOLD_BYTES, bytes -= FOLD_BYTES; bytes >= FOLD_BYTES;
	     p += FOLD_BYTES, bytes -= FOLD_BYTES)
		for (i = 0; i < 4; i++)
			x[i] = fold(x[i], _mm512_loadu_si512(p + 64 * i), k);

	k = fold_constants(fold_by_512);
	for (i = 1; i < 4; i++)
		x[i] = fold(x[i - 1], x[i], k);
	_mm512_storeu_si512(rest, x[3]);
	return crc_serial(crc_serial(0, rest, sizeof(rest)), p, bytes);
}

#endif

static uint32_t crc_at(enum vgpu_crc32c_level level, uint32_t crc, const void *buf, size_t bytes)
{
	switch (level) {
#ifdef __x86_64__
	case VGPU_CRC32C_AVX512:
		return crc_avx512(crc, buf, bytes);
	case VGPU_CRC32C_SSE42:
		return crc_sse42(crc, buf, bytes);
#endif
	case VGPU_CRC32C_WORDS:
		return crc_words(crc, buf, bytes);
	default:
		return crc_ref(crc, buf, bytes);
	}
}

/* Bytes in a nanosecond, once. */
static double turn_of(enum vgpu_crc32c_level level, const uint8_t *p, size_t bytes)
{
	uint64_t start = vgpu_now_ns(), ns;
	volatile uint32_t crc;

	crc = crc_at(level, 0, p, bytes);
	(void)crc;
	ns = vgpu_now_ns() - start;
	return (double)bytes / (double)(ns ? ns : 1);
}

/* The best of several turns: the first one brings memory and code, others are interrupted. */
static double rate_of(enum vgpu_crc32c_level level, const uint8_t *p, size_t bytes)
{
	double best = 0, rate;
	int turn;

	for (turn = 0; turn < TURNS && best < FAST_RATE; turn++) {
		rate = turn_of(level, p, bytes);
		best = rate > best ? rate : best;
	}
	return best;
}

/*
 * An emulated CPU takes a loop over 64 bits for the instruction. A real one is done here in a
 * microsecond.
 */
static void long_level_choose(void)
{
	static const uint8_t text[WORDS_BYTES];
	double rate = rate_of(best_level, text, TURN_BYTES);

	long_level = best_level;
	if (rate < FAST_RATE && rate_of(VGPU_CRC32C_WORDS, text, sizeof(text)) > rate)
		long_level = VGPU_CRC32C_WORDS;
}

uint32_t vgpu_crc32c_at(enum vgpu_crc32c_level level, uint32_t crc, const void *buf, size_t bytes)
{
	pthread_once(&tables_once, tables_fill);
	return ~crc_at(level, ~crc, buf, bytes);
}

enum vgpu_crc32c_level vgpu_crc32c_level(void)
{
	pthread_once(&tables_once, tables_fill);
	return best_level;
}

uint32_t vgpu_crc32c(uint32_t crc, const void *buf, size_t bytes)
{
	pthread_once(&tables_once, tables_fill);
	return ~crc_at(bytes < WORDS_BYTES ? best_level : long_level, ~crc, buf, bytes);
}

uint32_t vgpu_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes)
{
	return times(power(8 * second_bytes), first) ^ second;
}
