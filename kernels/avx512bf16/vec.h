#include "../avx512/vec.h"
