/* SPDX-License-Identifier: GPL-2.0 */
/* Waiting with a bound: what may end it, and how long it may last. */
#ifndef VB_WAIT_H
#define VB_WAIT_H

#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>

#define VB_WAIT_NS		(120ull * NSEC_PER_SEC)	/* default bound without a deadline */

/* Sleep until @condition or CLOCK_MONOTONIC @deadline_ns; 0, -ETIME or -EINTR. */
#define vb_wait_until(wq, condition, deadline_ns) ({				\
	u64 now_ = ktime_get_ns(), until_ = (deadline_ns);			\
	int rc_ = -ETIME;							\
	if (condition)								\
		rc_ = 0;							\
	else if (until_ > now_)							\
		rc_ = wait_event_interruptible_hrtimeout(wq, condition,		\
				min_t(u64, until_ - now_, KTIME_MAX));		\
	rc_ == -ERESTARTSYS ? -EINTR : rc_; })

/* The same where only a deadly signal may end it. */
#define vb_wait_killable_until(wq, condition, deadline_ns) ({			\
	u64 now_ = ktime_get_ns(), until_ = (deadline_ns);			\
	long rc_ = wait_event_killable_timeout(wq, condition, until_ > now_ ?	\
		nsecs_to_jiffies(min_t(u64, until_ - now_, VB_WAIT_NS)) + 1 : 0);\
	rc_ > 0 ? 0 : rc_ < 0 ? -EINTR : -ETIME; })

/*
 * Sleep until @condition or CLOCK_MONOTONIC @deadline_ns, woken by wake_up_var(@key), which is
 * an address that nobody looks behind; @state says what else may end it.
 */
#define vb_wait_var_until(key, condition, state, deadline_ns) ({		\
	u64 now_ = ktime_get_ns(), until_ = (deadline_ns);			\
	long left_ = until_ > now_ ? nsecs_to_jiffies(until_ - now_) + 1 : 0;	\
	long __ret = left_;							\
	if (!___wait_cond_timeout(condition))					\
		__ret = ___wait_var_event(key, ___wait_cond_timeout(condition),	\
					  state, 0, left_,			\
					  __ret = schedule_timeout(__ret));	\
	__ret > 0 ? 0 : __ret < 0 ? -EINTR : -ETIME; })

#define VB_LOOKS	8u	/* for what is waited for, between two looks around */

static inline bool vb_may_spin(u64 end_ns)
{
	return !need_resched() && single_task_running() && !signal_pending(current) &&
	       ktime_get_ns() < end_ns;
}

/* Look for @condition, awake, while nobody else wants the processor: is it true? */
#define vb_spin_until(condition, ns) ({						\
	u64 end_ = ktime_get_ns() + (ns);					\
	u32 looks_ = 0;								\
	bool met_;								\
	while (!(met_ = (condition)) && (looks_++ % VB_LOOKS || vb_may_spin(end_)))\
		cpu_relax();							\
	met_; })

#endif
