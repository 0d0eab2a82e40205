/* SPDX-License-Identifier: MIT */
/* The checkpoint reader is public: its declarations are in vgpu.h. */
#ifndef VGPU_FORMATS_CHECKPOINT_H
#define VGPU_FORMATS_CHECKPOINT_H

#include "vgpu.h"

#endif
