/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Is what a client asks VB_IOC_SUBMIT for a submission, before anything of it is copied?
 */
#ifndef VB_CORE_SUBMIT_CHECK_H
#define VB_CORE_SUBMIT_CHECK_H

#include "deps.h"

/**
 * vb_submit_check() - are the stream and the lists of a length that there can be
 * @cmd: a private copy
 *
 * Return: 0; -EINVAL a length; -EFAULT an address of 0 for what is not empty.
 */
int vb_submit_check(const struct vb_ioc_submit *cmd);

/**
 * vb_submit_check_access() - does an entry of the BO list say what is done with it
 * @access: VB_ACCESS_*
 *
 * Return: 0; -EINVAL neither read nor written, or a flag that is not known.
 */
int vb_submit_check_access(u32 access);

#endif
