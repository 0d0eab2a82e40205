/* SPDX-License-Identifier: MIT */
/*
 * Super-blocks of 256 values from codebooks (IQ1, IQ2, IQ3 of GGUF): each of these writes
 * the values of one block. An index names several magnitudes; signs lie apart, or with IQ1 all
 * values are moved by an eighth. Scales and magnitudes are so short that no product is rounded.
 */
#ifndef VGPU_PACK_IQ_H
#define VGPU_PACK_IQ_H

#include <stdint.h>

void vgpu_iq1_s_decode(const uint8_t *block, float *out);
void vgpu_iq1_m_decode(const uint8_t *block, float *out);
void vgpu_iq2_xxs_decode(const uint8_t *block, float *out);
void vgpu_iq2_xs_decode(const uint8_t *block, float *out);
void vgpu_iq2_s_decode(const uint8_t *block, float *out);
void vgpu_iq3_xxs_decode(const uint8_t *block, float *out);
void vgpu_iq3_s_decode(const uint8_t *block, float *out);

#endif
