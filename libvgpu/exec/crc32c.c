// SPDX-License-Identifier: MIT
/*
 * CRC32C at three levels.
 *
 * Bit-reflected throughout: bit 31 of a 32-bit value is the coefficient of x^0, so shifting right
 * multiplies by x. All constants are powers of x modulo the polynomial and are computed once, so
 * none has to be believed.
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
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "exec/crc32c.h"

#define POLY		0x82f63b78u	/* reflected */
#define ONE		0x80000000u	/* x^0 */
#define STREAM_BYTES	2048u
#define FOLD_BYTES	256u

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t byte_table[256];
static uint32_t stream_table[4][256];	/* times x^(8 * STREAM_BYTES) */
static uint64_t fold_by_2048[2];	/* multipliers of the low and the high half */
static uint64_t fold_by_512[2];
static enum vgpu_crc32c_level best_level;

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
		return VGPU_CRC32C_REF;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq"))
		return VGPU_CRC32C_AVX512;
	return VGPU_CRC32C_SSE42;
#else
	return VGPU_CRC32C_REF;
#endif
}

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
}

static uint32_t crc_ref(uint32_t crc, const uint8_t *p, size_t bytes)
{
	while (bytes--)
		crc = byte_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return crc;
}

#ifdef __x86_64__

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

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

uint32_t vgpu_crc32c_at(enum vgpu_crc32c_level level, uint32_t crc, const void *buf, size_t bytes)
{
	pthread_once(&tables_once, tables_fill);
	crc = ~crc;
#ifdef __x86_64__
	if (level == VGPU_CRC32C_AVX512)
		return ~crc_avx512(crc, buf, bytes);
	if (level == VGPU_CRC32C_SSE42)
		return ~crc_sse42(crc, buf, bytes);
#endif
	(void)level;
	return ~crc_ref(crc, buf, bytes);
}

enum vgpu_crc32c_level vgpu_crc32c_level(void)
{
	pthread_once(&tables_once, tables_fill);
	return best_level;
}

uint32_t vgpu_crc32c(uint32_t crc, const void *buf, size_t bytes)
{
	return vgpu_crc32c_at(vgpu_crc32c_level(), crc, buf, bytes);
}

uint32_t vgpu_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes)
{
	return times(power(8 * second_bytes), first) ^ second;
}
