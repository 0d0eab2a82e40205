// SPDX-License-Identifier: MIT
/*
 * Which functions run: one table a level, made once, each a copy of the level
 * below with what this level does better written over it.
 */
#include <cpuid.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "kernels/kernels.h"

/* Of asm/prctl.h of newer systems, and the number of the tiles' part of XSAVE. */
#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM	0x1023
#endif
#define XFEATURE_XTILEDATA	18

static const char *const isa_names[VGPU_ISA_COUNT] = {
	[VGPU_ISA_REF] = "ref",
	[VGPU_ISA_AVX2] = "avx2",
	[VGPU_ISA_AVX512] = "avx512",
	[VGPU_ISA_AMX] = "amx",
};

static void (*const isa_init[VGPU_ISA_COUNT][3])(struct vgpu_kernels *) = {
	[VGPU_ISA_REF] = { vgpu_matmul_init_ref, vgpu_pack_init_ref, vgpu_layer_init_ref },
	[VGPU_ISA_AVX2] = { vgpu_matmul_init_avx2, vgpu_pack_init_avx2, vgpu_layer_init_avx2 },
	[VGPU_ISA_AVX512] = { vgpu_matmul_init_avx512, vgpu_pack_init_avx512,
			      vgpu_layer_init_avx512 },
	[VGPU_ISA_AMX] = { vgpu_matmul_init_amx, vgpu_pack_init_avx512, vgpu_layer_init_avx512 },
};

static struct vgpu_kernels tables[VGPU_ISA_COUNT];
static enum vgpu_isa cpu_isa, best_isa;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Not every supported compiler's __builtin_cpu_supports() knows this one. */
static bool cpu_has_f16c(void)
{
	unsigned int a, b, c = 0, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* The level that VBLACKWELL_ISA names; the best there is where it names none. */
static enum vgpu_isa isa_named(void)
{
	const char *name = getenv("VBLACKWELL_ISA");

	for (int i = 0; name && i < VGPU_ISA_COUNT; i++)
		if (!strcmp(name, isa_names[i]))
			return (enum vgpu_isa)i;
	return VGPU_ISA_COUNT - 1;
}

/*
 * Tiles are 8 KiB a thread, which Linux saves for processes that asked for it (5.16), and
 * each signal's frame is longer then: who wants a lower level is spared that.  Linux refuses
 * where a thread's stack for signals is too short for it.
 */
static bool cpu_has_amx(void)
{
	/* AMX-BF16, AMX-TILE, AMX-INT8 */
	const unsigned int wanted = 1u << 22 | 1u << 24 | 1u << 25;
	unsigned int a, b, c, d = 0;

	return isa_named() == VGPU_ISA_AMX &&
	       __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & wanted) == wanted &&
	       !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

/* __builtin_cpu_supports() also asks whether the OS saves the registers. */
static enum vgpu_isa cpu_detect(void)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
	    !__builtin_cpu_supports("bmi2") || !cpu_has_f16c())
		return VGPU_ISA_REF;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512bf16") ||
	    !__builtin_cpu_supports("avx512vbmi"))
		return VGPU_ISA_AVX2;
	return cpu_has_amx() ? VGPU_ISA_AMX : VGPU_ISA_AVX512;
}

static void tables_init(void)
{
	__builtin_cpu_init();
	cpu_isa = cpu_detect();
	/* It can only lower the level. */
	best_isa = isa_named() < cpu_isa ? isa_named() : cpu_isa;

	for (int i = 0; i <= (int)cpu_isa; i++) {
		if (i > 0)
			tables[i] = tables[i - 1];
		tables[i].isa = i;
		for (int part = 0; part < 3; part++)
			isa_init[i][part](&tables[i]);
	}
}

enum vgpu_isa vgpu_isa_detect(void)
{
	pthread_once(&once, tables_init);
	return cpu_isa;
}

const struct vgpu_kernels *vgpu_kernels_get(enum vgpu_isa isa)
{
	pthread_once(&once, tables_init);
	return isa <= cpu_isa ? &tables[isa] : NULL;
}

const struct vgpu_kernels *vgpu_kernels_best(void)
{
	pthread_once(&once, tables_init);
	return &tables[best_isa];
}

const char *vgpu_isa_name(enum vgpu_isa isa)
{
	return isa < VGPU_ISA_COUNT ? isa_names[isa] : "unknown";
}
