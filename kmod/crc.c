// SPDX-License-Identifier: GPL-2.0
/*
 * CRC32C of what the device reads by itself, by the kernel's best implementation.
 *
 * Without one the executor computes it, as it does for all else: nothing is lost but time.
 */
#include "crc.h"

#include <linux/err.h>

#include <crypto/hash.h>

static struct crypto_shash *crc32c;

/**
 * vb_crc_init() - look for an implementation
 *
 * Context: module load.
 */
void vb_crc_init(void)
{
	crc32c = crypto_alloc_shash("crc32c", 0, 0);
	if (IS_ERR(crc32c))
		crc32c = NULL;
	/* All keep it so, and others count on that: jbd2 and ext4. */
	if (crc32c && crypto_shash_descsize(crc32c) != sizeof(u32))
		vb_crc_exit();
}

/**
 * vb_crc_exit() - undo vb_crc_init()
 *
 * Context: module unload.
 */
void vb_crc_exit(void)
{
	crypto_free_shash(crc32c);
	crc32c = NULL;
}

/**
 * vb_crc_is_known() - can the kernel compute it?
 *
 * Context: any.
 * Return: it can.
 */
bool vb_crc_is_known(void)
{
	return crc32c;
}

/**
 * vb_crc_add() - go on with some bytes
 * @crc: VB_CRC_BEGIN, or as it was left; in the end inverted it is what the table has
 * @p: bytes
 * @bytes: how many
 *
 * Context: any; vb_crc_is_known().
 * Return: 0, or what the implementation said.
 */
int vb_crc_add(u32 *crc, const void *p, u32 bytes)
{
	struct {
		struct shash_desc desc;
		u32 state;
	} d = { .desc.tfm = crc32c, .state = *crc };
	int rc = crypto_shash_update(&d.desc, p, bytes);

	*crc = *(u32 *)shash_desc_ctx(&d.desc);
	return rc;
}
