#include "cpu/avx512/vec.h"
