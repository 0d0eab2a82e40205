// SPDX-License-Identifier: MIT
#include "exec/keymap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY UINT64_MAX
#define MAX_ENTRIES (1u << 30)

/* The finaliser of splitmix64: chunk indices are consecutive, places must not be. */
static uint32_t place_of(const struct vgpu_keymap *map, uint64_t key)
{
	key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ull;
	key = (key ^ (key >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)(key ^ (key >> 31)) & map->mask;
}

static uint32_t room(const struct vgpu_keymap *map)
{
	return (uint32_t)(((uint64_t)map->mask + 1) * 3 / 4);
}

static uint32_t places_for(uint32_t entries)
{
	uint32_t places = 8;

	while ((uint64_t)places * 3 / 4 < entries && places < 1u << 31)
		places *= 2;
	return places;
}

/* Leaves the map as it was when it fails. */
static int allocate(struct vgpu_keymap *map, uint32_t places)
{
	uint64_t *keys = malloc((size_t)places * sizeof(*keys));
	uint32_t *values = malloc((size_t)places * sizeof(*values));

	if (!keys || !values) {
		free(keys);
		free(values);
		return -ENOMEM;
	}
	memset(keys, 0xff, (size_t)places * sizeof(*keys));
	map->keys = keys;
	map->values = values;
	map->mask = places - 1;
	return 0;
}

int vgpu_keymap_init(struct vgpu_keymap *map, uint32_t entries, uint32_t max_entries)
{
	memset(map, 0, sizeof(*map));
	if (entries > max_entries || max_entries > MAX_ENTRIES)
		return -EINVAL;
	map->max_entries = max_entries;
	return allocate(map, places_for(entries));
}

void vgpu_keymap_fini(struct vgpu_keymap *map)
{
	free(map->keys);
	free(map->values);
	memset(map, 0, sizeof(*map));
}

/* The place of the key, or the empty place where it would go. */
static uint32_t probe(const struct vgpu_keymap *map, uint64_t key)
{
	uint32_t place = place_of(map, key);

	while (map->keys[place] != EMPTY && map->keys[place] != key)
		place = (place + 1) & map->mask;
	return place;
}

bool vgpu_keymap_find(const struct vgpu_keymap *map, uint64_t key, uint32_t *out_value)
{
	uint32_t place;

	if (key == EMPTY)
		return false;
	place = probe(map, key);
	if (map->keys[place] == EMPTY)
		return false;
	if (out_value)
		*out_value = map->values[place];
	return true;
}

static int rehash(struct vgpu_keymap *map, uint32_t places)
{
	struct vgpu_keymap old = *map;
	int rc;

	rc = allocate(map, places);
	if (rc)
		return rc;
	for (uint32_t i = 0; i <= old.mask; i++) {
		uint32_t place;

		if (old.keys[i] == EMPTY)
			continue;
		place = probe(map, old.keys[i]);
		map->keys[place] = old.keys[i];
		map->values[place] = old.values[i];
	}
	free(old.keys);
	free(old.values);
	return 0;
}

int vgpu_keymap_reserve(struct vgpu_keymap *map, uint32_t entries)
{
	uint32_t places = places_for(entries);
	int rc;

	if (entries > MAX_ENTRIES)
		return -EINVAL;
	if (places > map->mask + 1) {
		rc = rehash(map, places);
		if (rc)
			return rc;
	}
	if (entries > map->max_entries)
		map->max_entries = entries;
	return 0;
}

int vgpu_keymap_set(struct vgpu_keymap *map, uint64_t key, uint32_t value)
{
	uint32_t place;
	int rc;

	if (key == EMPTY)
		return -EINVAL;
	place = probe(map, key);
	if (map->keys[place] == key) {
		map->values[place] = value;
		return 0;
	}
	if (map->count >= map->max_entries)
		return -ENOSPC;
	if (map->count >= room(map)) {
		rc = rehash(map, (map->mask + 1) * 2);
		if (rc)
			return rc;
		place = probe(map, key);
	}
	map->keys[place] = key;
	map->values[place] = value;
	map->count++;
	return 0;
}

bool vgpu_keymap_remove(struct vgpu_keymap *map, uint64_t key)
{
	uint32_t hole, place;

	if (key == EMPTY)
		return false;
	hole = probe(map, key);
	if (map->keys[hole] == EMPTY)
		return false;

	/*
	 * Close the hole: a later entry of the same run moves into it unless its home
	 * lies behind the hole (cyclically), where a probe would no longer find it.
	 */
	for (place = (hole + 1) & map->mask; map->keys[place] != EMPTY;
	     place = (place + 1) & map->mask) {
		uint32_t home = place_of(map, map->keys[place]);

		if (((place - home) & map->mask) < ((place - hole) & map->mask))
			continue;
		map->keys[hole] = map->keys[place];
		map->values[hole] = map->values[place];
		hole = place;
	}
	map->keys[hole] = EMPTY;
	map->count--;
	return true;
}

void vgpu_keymap_clear(struct vgpu_keymap *map)
{
	memset(map->keys, 0xff, ((size_t)map->mask + 1) * sizeof(*map->keys));
	map->count = 0;
}
