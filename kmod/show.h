/* SPDX-License-Identifier: GPL-2.0 */
/* What others may see of the device. */
#ifndef VB_SHOW_H
#define VB_SHOW_H

#include "core/deps.h"

struct attribute_group;
struct device;
struct file;
struct seq_file;

void vb_client_fdinfo(struct seq_file *m, struct file *filp);
void vb_exec_fdinfo(struct seq_file *m, struct file *filp);

extern const struct attribute_group *vb_sysfs_groups[];
const char *vb_exec_state_name(u32 state);
int vb_sysfs_init(struct device *dev);
void vb_sysfs_exit(void);

void vb_debugfs_init(void);
void vb_debugfs_exit(void);

#endif
