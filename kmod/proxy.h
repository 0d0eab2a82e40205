/* SPDX-License-Identifier: GPL-2.0 */
/* What the executor reads instead of a file whose server may never answer. */
#ifndef VB_PROXY_H
#define VB_PROXY_H

#include "core/deps.h"

struct file;
struct vb_user;

struct file *vb_proxy_new(struct file *file, u64 bytes, struct vb_user *user);
int vb_proxy_init(void);
void vb_proxy_exit(void);

#endif
