// SPDX-License-Identifier: MIT
/*
 * replay: when the uses repeat themselves (the decode loop of a framework that declares
 * nothing), take the last lap for the declared order of use and do as schedule does;
 * before that, and after the uses left the cycle for long, as freq does.
 *
 * A declared order takes precedence until the uses have left it.
 */
#include "exec/policy_cycle.h"
#include "exec/policy_schedule.h"

#include <errno.h>
#include <stdlib.h>

/* Client of the cycle learnt, which is of all of them. */
#define NOBODY UINT32_MAX

/* Uses without agreement after which another cycle, once recognised, is believed. */
#define PATIENCE 64

/**
 * struct replay - an instance
 * @sched: first; decides, and follows the cycle learnt
 * @cycle: looks for one
 * @desyncs: of @sched when the present cycle was learnt
 */
struct replay {
	struct vgpu_policy_sched sched;
	struct vgpu_policy_cycle cycle;
	uint64_t desyncs;
};

/*
 * A cycle that fits needs no order, only that what the cycle before left behind is not
 * taken for more useful. Without memory to learn, the policy stays as it was.
 */
static void learn(struct replay *replay)
{
	struct vgpu_policy_sched *sched = &replay->sched;
	const uint64_t *keys;
	uint32_t period = vgpu_policy_cycle_found(&replay->cycle, &keys);

	if (!period)
		return;
	if (period <= sched->core.stats.capacity)
		vgpu_policy_sched_withdraw_all(sched);
	else if (!vgpu_policy_sched_future(sched, NOBODY, keys, period, true))
		vgpu_policy_sched_withdraw_others(sched, NOBODY);
	replay->desyncs = sched->core.stats.desyncs;
}

/*
 * Several clients that declared what they do are not one cycle, because one of them left
 * its order once.
 */
static bool is_lost(const struct replay *replay)
{
	const struct vgpu_policy_sched *sched = &replay->sched;
	uint32_t followed = vgpu_policy_sched_followed(sched);

	return !followed || sched->unmatched > PATIENCE ||
	       (followed == 1 && sched->core.stats.desyncs != replay->desyncs);
}

static int replay_access(void *policy, uint64_t key, unsigned int flags, uint64_t *out_victim)
{
	struct replay *replay = policy;
	int answer;

	answer = vgpu_policy_core_access(policy, key, flags, out_victim);
	if (answer < 0)
		return answer;
	vgpu_policy_cycle_push(&replay->cycle, key);
	if (is_lost(replay))
		learn(replay);
	return answer;
}

static void replay_destroy(void *policy)
{
	struct replay *replay = policy;

	if (!replay)
		return;
	vgpu_policy_cycle_fini(&replay->cycle);
	vgpu_policy_sched_fini(&replay->sched);
	free(replay);
}

static int replay_create(const struct vgpu_policy_params *params, void **out_policy)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	int rc;

	if (!replay)
		return -ENOMEM;
	rc = vgpu_policy_sched_init(&replay->sched, params);
	if (!rc)
		rc = vgpu_policy_cycle_init(&replay->cycle);
	if (rc) {
		replay_destroy(replay);
		return rc;
	}
	*out_policy = replay;
	return 0;
}

const struct vgpu_policy_ops vgpu_policy_replay = {
	.name = "replay",
	.what = "recognises a repeating order of use, then decides as schedule; before, as freq",
	.create = replay_create,
	.destroy = replay_destroy,
	.access = replay_access,
	VGPU_POLICY_CORE_OPS,
	VGPU_POLICY_SCHED_OPS,
};
