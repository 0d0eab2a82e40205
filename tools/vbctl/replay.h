/* SPDX-License-Identifier: MIT */
#ifndef VBCTL_REPLAY_H
#define VBCTL_REPLAY_H

/**
 * vbctl_replay() - vbctl replay TRACE [--capacity CHUNKS] [--policy NAME] [--json]
 * @argc: number of arguments
 * @argv: argv[0] is the word replay
 *
 * Runs the uses of a recorded trace through every policy and prints the misses of each
 * beside the fewest possible.
 *
 * Return: exit status.
 */
int vbctl_replay(int argc, char **argv);

#endif
