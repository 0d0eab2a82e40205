// SPDX-License-Identifier: GPL-2.0
#include "thread.h"

#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>

/**
 * vb_thread_start() - a thread that has the module, which may be asked to go before it ends
 * @run: ends by module_put_and_kthread_exit()
 * @arg: of @run
 * @name: what it is called
 *
 * The kernel says -EAGAIN for some of what it has no memory for then, and for what it has no
 * number for: to who called us that says another thing.
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM there can be none; -EINTR the caller is killed.
 */
int vb_thread_start(int (*run)(void *), void *arg, const char *name)
{
	struct task_struct *thread;

	__module_get(THIS_MODULE);
	thread = kthread_run(run, arg, "%s", name);
	if (!IS_ERR(thread))
		return 0;
	module_put(THIS_MODULE);
	return PTR_ERR(thread) == -EINTR ? -EINTR : -ENOMEM;
}
