/* Coverage with AddressSanitizer: loaded before libasan, which has these functions too, but empty. atheris's own copies of
 * libFuzzer's would never be called. LIBFUZZER: the path of the library that has them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

static void *in_libfuzzer(const char *name)
{
    static void *library;
    if (library == NULL)
        library = dlopen(getenv("LIBFUZZER"), RTLD_LAZY | RTLD_NOLOAD);
    return dlsym(library, name);
}

#define FORWARD(name) \
    void name(uintptr_t a, uintptr_t b) \
    { \
        static void (*to)(uintptr_t, uintptr_t); \
        if (to == NULL) \
            to = (void (*)(uintptr_t, uintptr_t))in_libfuzzer(#name); \
        to(a, b); \
    }

FORWARD(__sanitizer_cov_8bit_counters_init)
FORWARD(__sanitizer_cov_pcs_init)
FORWARD(__sanitizer_cov_trace_cmp8)
FORWARD(__sanitizer_cov_trace_const_cmp8)
