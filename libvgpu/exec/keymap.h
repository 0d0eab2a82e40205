/* SPDX-License-Identifier: MIT */
/*
 * keymap: a hash map from u64 keys to u32 values
 *
 * Open addressing with linear probing, at most three quarters full, deletion by
 * shifting back, so a look-up touches one or two cache lines and there are no
 * tombstones. Memory is bounded: a map grows by doubling up to the number of entries
 * given at creation and never beyond; created with entries == max_entries it never
 * allocates again.
 *
 * The key UINT64_MAX marks an empty place and cannot be stored.
 *
 * Context: the caller serialises; look-ups alone may run in parallel.
 */
#ifndef VGPU_EXEC_KEYMAP_H
#define VGPU_EXEC_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct vgpu_keymap - the map; fields are private
 * @keys: key of each place, UINT64_MAX when empty
 * @values: value of each place
 * @mask: number of places - 1, the places being a power of two
 * @count: entries stored
 * @max_entries: entries the map may ever hold
 */
struct vgpu_keymap {
	uint64_t *keys;
	uint32_t *values;
	uint32_t mask;
	uint32_t count;
	uint32_t max_entries;
};

/**
 * vgpu_keymap_init() - make an empty map
 * @map: to initialise
 * @entries: room to allocate now, in entries
 * @max_entries: most entries ever, at least @entries, at most 2^30
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int vgpu_keymap_init(struct vgpu_keymap *map, uint32_t entries, uint32_t max_entries);

/**
 * vgpu_keymap_fini() - release the memory
 * @map: initialised, or all zero
 */
void vgpu_keymap_fini(struct vgpu_keymap *map);

/**
 * vgpu_keymap_reserve() - make sure that so many entries fit without allocation
 * @map: the map
 * @entries: at most 2^30; raises the bound on entries to at least this
 *
 * Return: 0; -EINVAL; or -ENOMEM with the map unchanged.
 */
int vgpu_keymap_reserve(struct vgpu_keymap *map, uint32_t entries);

/**
 * vgpu_keymap_find() - look a key up
 * @map: the map
 * @key: any value; UINT64_MAX is never found
 * @out_value: receives the value when found; may be NULL
 *
 * Return: true when the key is stored.
 */
bool vgpu_keymap_find(const struct vgpu_keymap *map, uint64_t key, uint32_t *out_value);

/**
 * vgpu_keymap_set() - store or replace the value of a key
 * @map: the map
 * @key: anything but UINT64_MAX
 * @value: to store
 *
 * Return: 0; -EINVAL for UINT64_MAX; -ENOSPC when max_entries are stored; -ENOMEM
 * when growing failed. The map is unchanged on error.
 */
int vgpu_keymap_set(struct vgpu_keymap *map, uint64_t key, uint32_t value);

/**
 * vgpu_keymap_remove() - remove a key
 * @map: the map
 * @key: any value
 *
 * Return: true when it was stored.
 */
bool vgpu_keymap_remove(struct vgpu_keymap *map, uint64_t key);

/**
 * vgpu_keymap_clear() - remove every key, keep the memory
 * @map: the map
 */
void vgpu_keymap_clear(struct vgpu_keymap *map);

#endif
