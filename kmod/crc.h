/* SPDX-License-Identifier: GPL-2.0 */
/* CRC32C of what the device reads by itself. */
#ifndef VB_CRC_H
#define VB_CRC_H

#include <linux/types.h>

#define VB_CRC_BEGIN	0xffffffffu	/* of nothing yet; the other way round it is the checksum */

bool vb_crc_is_known(void);
int vb_crc_add(u32 *crc, const void *p, u32 bytes);
void vb_crc_init(void);
void vb_crc_exit(void);

#endif
