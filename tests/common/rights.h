/* SPDX-License-Identifier: MIT */
#ifndef TESTS_RIGHTS_H
#define TESTS_RIGHTS_H

/* Root may lock what it likes until it gives that up.  Return: 0 or -1, errno. */
int rights_drop_ipc_lock(void);

#endif
