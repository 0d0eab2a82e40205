/* SPDX-License-Identifier: MIT */
/*
 * Structures of vgpu.h that begin with their own size, as their caller knows it: an older
 * program hands a shorter one to a newer library, a newer program a longer one to an older.
 */
#ifndef VGPU_SIZED_H
#define VGPU_SIZED_H

#include <stddef.h>

/**
 * vgpu_sized_take() - a structure that a caller filled
 * @name: what the caller knows it as, for the sentence
 * @to: receives it, @bytes long; zero where the caller's is shorter
 * @bytes: as this library knows it
 * @from: the caller's; its first member is a uint32_t with its size
 *
 * Context: any thread.
 * Return: 0; -EINVAL the size is below that of its own field; -E2BIG it is longer than
 * @bytes and something there is set. Both have their sentence.
 */
int vgpu_sized_take(const char *name, void *to, size_t bytes, const void *from);

/**
 * vgpu_sized_check() - is the size of a structure to be answered one?
 * @name: what the caller knows it as
 * @bytes: as this library knows it
 * @to: the caller's
 *
 * Return: 0; -EINVAL, with its sentence.
 */
int vgpu_sized_check(const char *name, size_t bytes, const void *to);

/**
 * vgpu_sized_answer() - give a caller as much of a structure as it knows
 * @to: the caller's, of which vgpu_sized_check() had nothing to say; its size stays
 * @from: the answer
 * @bytes: length of the answer
 */
void vgpu_sized_answer(void *to, const void *from, size_t bytes);

#endif
