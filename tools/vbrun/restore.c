// SPDX-License-Identifier: MIT
#include "restore.h"

/* NaN losses come last: nothing is known of them. */
static bool worse(double loss, double than)
{
	return loss > than || (than != than && loss == loss);
}

/* The worst layer that is not kept; @layers when all are. */
static uint32_t next_layer(uint32_t layers, const double *loss, const bool *kept)
{
	uint32_t worst = layers;

	for (uint32_t i = 0; i < layers; i++)
		if (!kept[i] && (worst == layers || worse(loss[i], loss[worst])))
			worst = i;
	return worst;
}

int restore_search(uint32_t layers, const double *loss, double goal, restore_score score,
		   void *arg, bool *kept, double *best)
{
	uint32_t next;
	int rc = 0;

	/* Not "less than": a score of NaN reaches nothing. */
	while (!rc && !(*best >= goal) && (next = next_layer(layers, loss, kept)) < layers) {
		kept[next] = true;
		rc = score(arg, kept, best);
	}
	return rc;
}
