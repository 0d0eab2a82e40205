/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_SENTENCES_H
#define VBRUN_SENTENCES_H

#define VBRUN_SENTENCE_COUNT 200
#define VBRUN_DEMO_COUNT 8

/*
 * Unrelated sentences for measuring accuracy: no two say the same thing, so that the
 * order of their similarities is decided by small differences. By all-MiniLM-L6-v2 in
 * F32 no two have a cosine above this (the nearest have 0.52; two of the demonstration's
 * that say the same have 0.63).
 */
#define VBRUN_SENTENCE_COSINE_MAX 0.55
extern const char *const vbrun_sentences[VBRUN_SENTENCE_COUNT];

/* Four topics of two sentences each, in order: neighbours should be pairs. */
extern const char *const vbrun_demo_sentences[VBRUN_DEMO_COUNT];

#endif
