/* A number of lanes. */
#ifndef SUBBYTE_VECTOR_LANES_H
#define SUBBYTE_VECTOR_LANES_H
#include "vec.h"

static inline int clamp_lane(int64_t t)
{
    return t < 0 ? 0 : t > VLANES ? VLANES : (int)t;
}

#endif
