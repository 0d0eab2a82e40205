/* SPDX-License-Identifier: MIT */
/*
 * What a service manager wants to hear (sd_notify(3), the protocol of NOTIFY_SOCKET).
 * By hand: it is one datagram, and the socket is connected while that is still allowed.
 */
#ifndef VBD_NOTIFY_H
#define VBD_NOTIFY_H

/**
 * vbd_notify_connect() - reach the service manager, if one asked to be told
 *
 * Takes NOTIFY_SOCKET out of the environment: children of ours speak for themselves.
 * Return: a descriptor, which the caller closes; -1 nobody asked; -errno.
 */
int vbd_notify_connect(void);

/* Tell it: "READY=1", "STOPPING=1".  Nothing happens with a negative descriptor. */
void vbd_notify(int fd, const char *state);

#endif
